#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tests/house/habits.py - habits of CONTRIBUTING.md that a machine can keep.
# Run: meson test -C build habits
# usage: habits.py SOURCES BUILD ARCHIVE...		prints TAP
import collections
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rules import finish, result

SOURCES, BUILD, ARCHIVES = sys.argv[1], sys.argv[2], sys.argv[3:]
os.chdir(SOURCES)
PRODUCT = ('abi', 'base', 'cpu', 'direct', 'door', 'engine', 'irq', 'lib', 'mmu', 'shim', 'svm', 'tools', 'vcpu', 'vm')


def walk():
    for folder, folders, names in os.walk('.'):
        folders[:] = sorted(f for f in folders if not f.startswith(('build', '.')) or f == '.ci')
        for name in sorted(names):
            yield os.path.join(folder, name)[2:]


def text(path):
    with open(path, errors='replace') as f:
        return f.read()


FILES = list(walk())
CODE = {f: text(f) for f in FILES if f.endswith(('.c', '.h', '.S'))}


# -- names --

def badly_named():
    for f in CODE:
        if re.match(r'(misc|util|utils|common|helpers)\.[ch]$', os.path.basename(f)):
            yield f'{f}: named after nothing'
        if re.match(r'(priv|internal|.*_internal)\.h$', os.path.basename(f)):
            yield f'{f}: a private header is X_priv.h'
    for f, s in CODE.items():
        for folder, name in re.findall(r'#include "(\w+)/(\w+_priv\.h)"', s):
            if not f.startswith((folder + '/', 'tests/unit/', 'tests/insn/', 'tests/bench/')):
                yield f'{f}: {folder}/{name} is private to {folder}/'


# -- lines --

COLUMNS = 100


def too_wide():
    for f, s in CODE.items():
        for i, line in enumerate(s.splitlines(), 1):
            width = len(line.expandtabs(8))
            if width > COLUMNS:
                yield f'{f}:{i}: {width} columns, {COLUMNS} is what fits'


# -- tests --

def without_a_command():
    for f, s in CODE.items():
        if not f.startswith('tests/') or f.startswith(('tests/bench/', 'tests/clients/')) or not f.endswith('.c'):
            continue
        if f in ('tests/unit/main.c', 'tests/guest/harness/tap.c') or not re.search(r'^T\(|^int main\(', s, re.M):
            continue
        m = re.search(r'^/\* Run: (.*) \*/$', s[:3000], re.M)
        if not m:
            yield f'{f}: does not begin with /* Run: COMMAND */'
            continue
        for program in re.findall(r'\bbuild/\S+', m[1]):
            if not os.path.exists(os.path.join(BUILD, program[6:])):
                yield f'{f}: {program} is not built'


def other_idioms():
    for f, s in CODE.items():
        if f.startswith('tests/') and f != 'tests/unit/main.c' and re.search(r'\bcmocka_unit_test|struct CMUnitTest', s):
            yield f'{f}: a list of tests by hand; T() registers them (tests/t.h)'
        for n in re.findall(r'^static void (\w+)\(void \*\*state\)', s, re.M) if f != 'tests/unit/main.c' else ():
            yield f'{f}: {n}() is no T()'
    for f in FILES:
        if os.path.basename(f) == 'meson.build' and '-Wno-unused' in text(f).replace('-Wno-unused-parameter', '').replace(
                '-Wno-unused-result', ''):
            yield f'{f}: hides what is not used'


# -- documents --

def dangling_names():
    known = set(FILES) | {os.path.dirname(f) for f in FILES}
    for f in FILES:
        if not f.endswith('.md') or os.path.basename(f) in ('CHANGELOG.md', 'TODO.md'):
            continue
        s = text(f)
        for path, function in re.findall(r'`((?:\w+/)+[\w.]+\.[chS])(?::(\w+)\(\))?`', s):
            if path not in known and not path.isupper() and 'FOLDER' not in path:
                yield f'{f}: {path} does not exist'
            elif function and not re.search(rf'\b{function}\(', words(CODE[path])):
                yield f'{f}: {path} has no {function}()'
        for path in re.findall(r'\]\(([^)#:]+)\)', s):
            if not os.path.exists(os.path.join(os.path.dirname(f), path)):
                yield f'{f}: links to {path}'


# -- functions that nobody calls --

def words(s):
    s = re.sub(r'/\*.*?\*/', ' ', s, flags=re.S)
    s = re.sub(r'//[^\n]*', '', s)
    return re.sub(r'"(\\.|[^"\\\n])*"', '""', s)


# A use is a word that is no declaration; names that macros put together show in the objects as undefined.
def unused():
    used, declared, public, marked = collections.Counter(), collections.Counter(), {}, set()
    undefined = set()
    for f, s in CODE.items():
        if f.split('/')[0] not in PRODUCT:
            continue
        t = words(s)
        used.update(re.findall(r'[A-Za-z_]\w*', t))
        declared.update(re.findall(r'^(?:[A-Za-z_][\w \t*]*?[ *])(\w+)\([^;{}]*\)\s*(?:__attribute__\(\(.*?\)\)\s*)*[;{]', t,
                                   re.M))
        marked.update(re.findall(r'(\w+)\([^;{}]*\);\s*/\* for tests', s))
    # Those of headers are nowhere in the objects.
    for f, s in CODE.items():
        if f.split('/')[0] in PRODUCT and f.endswith('.h'):
            for name in re.findall(r'^static inline [^;{(]*?(\w+)\(', words(s), re.M):
                if used[name] == 1 and not any(re.search(rf'\b{name}\b', t) for g, t in CODE.items() if g.startswith('tests/')):
                    yield f'{f}: {name}() is called by nobody'
    for archive in ARCHIVES:
        out = subprocess.run(['nm', '-A', archive], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        for where, kind, name in re.findall(r'^(.*?):\s*[0-9a-f]* (\w) (\S+)$', out, re.M):
            if kind == 'U':
                undefined.add(name)
            elif kind == 'T' and not name.startswith('_'):
                public[name] = where.split(':')[-1]
    for name, where in sorted(public.items()):
        if used[name] <= declared[name] and name not in undefined:
            if name not in marked:
                yield f'{where}: {name}() is called by nobody, and its declaration does not say /* for tests */'
        elif name in marked and used[name] > declared[name]:
            yield f'{where}: {name}() is not for tests only'


# -- headers --

# Compiled again only when it, or something it includes, has changed.
def not_alone():
    out = os.path.join(BUILD, 'meson-private', 'headers')
    os.makedirs(out, exist_ok=True)
    running = []
    bad = []

    def reap():
        h, stamp, p = running.pop(0)
        said = p.communicate()[1]
        if p.returncode:
            bad.append(f'{h}: {said.splitlines()[0] if said else "?"}')
        else:
            open(stamp, 'w').close()

    for h in sorted(f for f in CODE if f.endswith('.h')):
        stamp = os.path.join(out, h.replace('/', '_'))
        try:
            with open(stamp + '.d') as f:
                deps = f.read().replace('\\\n', ' ').split()[1:]
            if all(os.path.getmtime(d) <= os.path.getmtime(stamp) for d in deps):
                continue
        except OSError:
            pass
        p = subprocess.Popen([*os.environ.get('CC', 'cc').split(), '-std=gnu11', '-D_GNU_SOURCE', '-fsyntax-only', '-w', '-I.',
                              '-Iinclude', '-MD', '-MF', stamp + '.d', '-x', 'c', h], stderr=subprocess.PIPE, text=True)
        running.append((h, stamp, p))
        if len(running) == 2:
            reap()
    while running:
        reap()
    return bad


print('TAP version 13')
result('files are named after what they hold; X_priv.h stays in its folder', list(badly_named()))
result('no line of code is wider than 100 columns', list(too_wide()))
result('each test file begins with the command that runs it', list(without_a_command()))
result('a test is a T() and nothing hides one that is forgotten', list(other_idioms()))
result('files and functions that documents name exist', list(dangling_names()))
result('every function is called, or says that it is for tests', list(unused()))
result('each header compiles alone', not_alone())
finish()
