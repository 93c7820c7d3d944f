#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tests/unit/citations.py - what comments and documents cite is there: pages of docs/, their numbered sections,
# their headings, links, and source files.
# usage: citations.py SOURCES [FILE...]		prints TAP; FILE: look only at these
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../house'))
from rules import finish, result

os.chdir(sys.argv[1])
TEXT = re.compile(r'\.(c|h|S|s|py|sh|md|scd|build|txt|supp|service|list)$|(^|/)[^./]+$')
FOLDERS = '(?:abi|base|cpu|door|engine|include|irq|lib|mmu|scripts|shim|svm|tests|tools|vcpu|vm)'
NUMBER = r'\d+(?:\.\d+a?)?'
NUMBERS = NUMBER + r'(?:(?:, | and |-)' + NUMBER + r'(?!\w))*'


def tree():
    for folder, folders, names in os.walk('.'):
        folders[:] = [f for f in folders if not f.startswith(('build', '.git')) and f != '__pycache__']
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), '.')


def text_of(path):
    try:
        with open(path, encoding='utf-8') as f:
            return f.read()
    except (OSError, UnicodeDecodeError):
        return ''


def anchor(heading):
    return re.sub(r'[^\w\- ]', '', heading.lower().replace('`', '')).replace(' ', '-')


def flat(text):
    """Comments' and documents' lines joined, so that a citation over two lines is one."""
    return re.sub(r'\s*\n\s*(?:\*(?!/)|//|#)?[ \t]*', ' ', text)


files = sorted(tree())
known = set(files)
texts = {f: text_of(f) for f in files if TEXT.search(f)}
looked = {f: t for f, t in texts.items() if len(sys.argv) < 3 or f in sys.argv[2:]}
here = 'tests/unit/citations.py'
headings = {f: re.findall(r'^#+ (.*)$', t, re.M) for f, t in texts.items() if f.endswith('.md')}
numbered = {f: {m[1] for h in hs for m in [re.match(r'(\d+(?:\.\d+a?)?) ', h)] if m} for f, hs in headings.items()}
kvm_sections = set().union(*(n for f, n in numbered.items() if f.startswith('docs/kvm-')))

bad = []
for f, t in looked.items():
    if f != here:
        bad += ['%s: %s' % (f, m[0]) for m in re.finditer(r'\bdocs/[\w-]+\.(?:md|txt)\b', t) if m[0] not in known]
result('every page of docs/ that is named exists', bad)

bad = []
for f, t in looked.items():
    for m in re.finditer(r'\b(docs/[\w-]+\.md),? (' + NUMBERS + r')', flat(t)):
        for n in re.findall(NUMBER, m[2]):
            if m[1] in known and n not in numbered[m[1]]:
                bad.append('%s: %s %s' % (f, m[1], n))
    if f.startswith('docs/kvm-'):
        bad += ['%s: section %s' % (f, m[1]) for m in re.finditer(r'\bsection (' + NUMBER + ')', t)
                if m[1] not in kvm_sections]
    bad += ['%s: rule of %s' % (f, m[1]) for m in re.finditer(r'^T\(\w+, "(\d[\d., and-]*):', t, re.M)
            for n in re.findall(r'\d+\.\d+a?', m[1]) if n not in kvm_sections]
result('every section that is cited by number exists', bad)

bad = []
for f, t in looked.items():
    if f == here:
        continue
    for m in re.finditer(r'(docs/[\w-]+\.md|\[[^]]*\]\([\w-]+\.md\))[,:]? "([^"\n]{3,80})"', flat(t)):
        page = re.search(r'[\w-]+\.md(?=\)?$)', m[1])[0]
        if m[2].rstrip('.,') not in headings.get('docs/' + page, []):
            bad.append('%s: "%s" of docs/%s' % (f, m[2], page))
    bad += ['%s: %s' % (f, m[0]) for m in re.finditer(r'\b[Ff]acts:? \d[\d.]*', t)]
result('every heading that is cited exists', bad)

bad = []
for f, t in looked.items():
    if not f.endswith('.md'):
        continue
    for m in re.finditer(r'\]\(([^)\s#]*)(?:#([^)]*))?\)', re.sub(r'```.*?```', '', t, flags=re.S)):
        if re.match(r'[a-z]+:', m[1]):
            continue
        to = os.path.normpath(os.path.join(os.path.dirname(f), m[1])) if m[1] else f
        if not os.path.exists(to):
            bad.append('%s: link to %s' % (f, m[1]))
        elif m[2] and m[2] not in [anchor(h) for h in headings.get(to, [])]:
            bad.append('%s: link to %s#%s' % (f, m[1], m[2]))
result('every link leads somewhere', bad)

bad = []
for f, t in looked.items():
    if f in ('CHANGELOG.md', here):
        continue
    for m in re.finditer(r'(?<![\w/.<-])(' + FOLDERS + r'(?:/[\w-]+)+\.(?:[chsS]|py|sh|md|list|supp))(?![\w/*])', t):
        # What a guide makes in its course is not there.
        if f.startswith('docs/adding-') and re.search(r'^\s*--- %s$' % re.escape(m[1]), t, re.M):
            continue
        if m[1] not in known and not re.search(r'#include\s*["<]$', t[:m.start()][-12:]):
            bad.append('%s: %s' % (f, m[1]))
result('every source file that is named exists', bad)

finish()
