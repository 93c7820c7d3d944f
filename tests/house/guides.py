#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tests/house/guides.py - follows docs/adding-*.md literally: types what stands in their diffs into a copy of the tree and runs
# their commands.
# Run: meson test -C build --suite long guides
# usage: guides.py SOURCES BUILD [GUIDE...]		prints TAP
import glob
import os
import re
import shutil
import subprocess
import sys
import textwrap

sources, build, chosen = sys.argv[1], sys.argv[2], sys.argv[3:]
tree = os.path.join(build, 'guides')


def copy():
    files = subprocess.run(['git', '-C', sources, 'ls-files', '--cached', '--others', '--exclude-standard'], check=True,
                           stdout=subprocess.PIPE, text=True).stdout.split('\n')
    for f in filter(None, files):
        old, new = os.path.join(sources, f), os.path.join(tree, f)
        if not os.path.isfile(old):
            continue
        with open(old, 'rb') as a:
            data = a.read()
        # Files that have not changed keep their time: little is built again.
        if os.path.exists(new):
            with open(new, 'rb') as b:
                if b.read() == data:
                    continue
        os.makedirs(os.path.dirname(new), exist_ok=True)
        with open(new, 'wb') as b:
            b.write(data)
        shutil.copymode(old, new)
    # What a guide has added the last time.
    for folder, folders, names in os.walk(tree):
        folders[:] = [f for f in folders if folder != tree or f != 'build']
        for name in names:
            path = os.path.join(folder, name)
            if os.path.relpath(path, tree) not in files:
                os.remove(path)


def apply(diff):
    """' ' context, '-' gone, '+' new; no line numbers: the old lines stand in the file just once."""
    path, hunk = None, []

    def done():
        if not hunk:
            return None
        old = [h[1:] for h in hunk if h[0] != '+']
        new = [h[1:] for h in hunk if h[0] != '-']
        if not os.path.exists(os.path.join(tree, path)) and not old:
            open(os.path.join(tree, path), 'w').close()    # a new file
        with open(os.path.join(tree, path)) as f:
            lines = f.read().split('\n')
        at = [i for i in range(len(lines)) if lines[i:i + len(old)] == old]
        if not old:
            at = [0]
        if len(at) > 1 and len(old) == 1:
            return f'{path}: "{old[0]}" stands there {len(at)} times'
        if not at:
            # A context line may be the beginning of a longer one.
            at = [i for i in range(len(lines)) if len(old) == 1 and lines[i].startswith(old[0])]
            if len(at) != 1:
                return f'{path}: what the guide shows is not there: {old}'
            new = [lines[at[0]] if n == old[0] else n for n in new]
        lines[at[0]:at[0] + len(old)] = new
        with open(os.path.join(tree, path), 'w') as f:
            f.write('\n'.join(lines))
        hunk.clear()
        return None

    for line in diff.split('\n'):
        if line.startswith('--- '):
            bad = done()
            if bad:
                return bad
            path = line[4:]
        elif line:
            hunk.append(line)
    return done()


def follow(guide):
    with open(guide) as f:
        text = f.read()
    for kind, block in re.findall(r'^ *```(diff|sh)\n(.*?)^ *```', text, re.S | re.M):
        block = textwrap.dedent(block) if kind == 'sh' else re.sub(r'^   ', '', block, flags=re.M)
        if kind == 'diff':
            bad = apply(block)
        else:
            # The same bytes were compiled in the source tree's build folder: let ccache find them.
            env = dict(os.environ, CCACHE_NOHASHDIR='1', STANDIN_NODE='/dev/standin-test', KVM_NODE='/dev/standin-test')
            p = subprocess.run(['bash', '-e', '-c', block], cwd=tree, env=env, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
            bad = p.returncode and block + '\n'.join(p.stdout.split('\n')[-30:])
        if bad:
            return bad
    return None


guides = chosen or sorted(glob.glob(os.path.join(sources, 'docs/adding-*.md')))
print(f'TAP version 13\n1..{len(guides)}', flush=True)
copy()
failed = False
if not os.path.exists(os.path.join(tree, 'build/build.ninja')):
    p = subprocess.run(['meson', 'setup', '-Dtests=enabled', *[f'-Dzydis={z}' for z in [os.environ.get('ZYDIS', '')] if z], 'build'],
                       cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        print('Bail out! meson setup:', p.stdout[-400:])
        sys.exit(1)
for i, guide in enumerate(guides, 1):
    bad = follow(guide)
    print('not ok' if bad else 'ok', i, '-', os.path.basename(guide), flush=True)
    if bad:
        print(textwrap.indent(bad, '# '))
        failed = True
sys.exit(failed)
