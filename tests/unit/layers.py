#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tests/unit/layers.py - the layers of docs/architecture.md, in the sources and in the built objects.
# usage: layers.py SOURCES PRELOAD ARCHIVE...		prints TAP
#
# The table says what each folder may include. A symbol that an object needs is looked up like an include:
# a declaration by hand would go past the includes. PRELOAD tells which libc names are taken over.
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../house'))
from rules import finish, result

sources, preload, archives = sys.argv[1], sys.argv[2], sys.argv[3:]


def table():
    rows = {}
    for line in open(os.path.join(sources, 'docs/architecture.md')):
        m = re.match(r'\| `(\w+)/` \|.*\| ([^|]*) \|$', line)
        if m:
            rows[m[1]] = set(re.findall(r'`(\w+)/', m[2]))
    return rows


def nm(*args):
    out = subprocess.run(['nm', *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    return out.stdout.splitlines()


def includes(folder):
    for name in sorted(os.listdir(os.path.join(sources, folder))):
        if name.endswith(('.c', '.h')):
            with open(os.path.join(sources, folder, name)) as f:
                for line in f:
                    m = re.match(r'#include "(\w+)/', line)
                    if m:
                        yield folder + '/' + name, m[1]


# "libX.a:vcpu_run.c.o:0000 T name": meson names an object by its path.
def symbols(flag):
    for archive in archives:
        for line in nm('-A', flag, archive):
            m = re.match(r'.*:(?:.*/)?([^/:]+)\.c\.o:\s*[0-9a-f]* (\w) (\S+)$', line)
            if m:
                yield m[1].replace('_', '/', 1), m[2], m[3]


allowed = table()
folders = sorted(d for d in os.listdir(sources) if os.path.exists(os.path.join(sources, d, 'meson.build')))
result('every folder of code has a row', [d for d in folders if d not in allowed and
                                          d not in ('tests', 'docs', 'examples')])
result('the table has no circle below shim/', [
    '%s and %s' % (a, b) for a in allowed for b in allowed[a]
    if a in allowed.get(b, ()) and {a, b} != {'shim', 'door'}])
result('includes are those of the table', [
    '%s includes %s/' % (f, d) for folder in allowed if folder != 'tools'
    for f, d in includes(folder) if d != folder and d not in allowed[folder]])

home = {}
for obj, kind, name in symbols('--defined-only'):
    if kind.isupper():
        home[name] = obj
result('the archives have symbols', [] if len(home) > 500 else ['%d found' % len(home)])
needs = [(obj, name) for obj, kind, name in symbols('-u')]
bad = set()
for obj, name in needs:
    a, b = obj.split('/')[0], home.get(name, obj).split('/')[0]
    if a != b and b not in allowed.get(a, ()):
        bad.add('%s.c needs %s of %s.c' % (obj, name, home[name]))
result('objects need only what their folder may include', sorted(bad))

taken = {line.split()[2] for line in nm('-D', '--defined-only', preload)}
result('the preload object takes names over', [] if {'open', 'ioctl', 'close'} <= taken else sorted(taken))
result('nobody below shim/ calls a name that shim/ takes over (base/sys.h)', sorted(
    '%s.c calls %s' % n for n in needs if n[1] in taken))

# -- state with one owner --


def code(folders, pattern):
    for folder in folders:
        for name in sorted(os.listdir(os.path.join(sources, folder))):
            if name.endswith(('.c', '.h')):
                with open(os.path.join(sources, folder, name)) as f:
                    for n, line in enumerate(f, 1):
                        if re.search(pattern, re.sub(r'/\*.*?\*/|//.*', '', line)):
                            yield '%s/%s:%d: %s' % (folder, name, n, line.strip())


layers = [d for d in allowed if d != 'tools' and d in folders]
result('struct svm is touched by svm/ only', list(code(
    [d for d in layers if d != 'svm'], r'\bsvm(->|\.(?!md|h"))|\bstruct svm \*\w+ =')))
result('io_tlb is touched by its owner only', [
    line for line in code(layers, r'\bio_tlb\b')
    if not line.startswith(('mmu/access.c:', 'mmu/tlb.c:', 'engine/cpu.h:'))])
result("the host's CPUID is asked in base/host_cpuid.h only", [
    line for line in code(layers, r'"cpuid\b|\b__(get_)?cpuid|<cpuid\.h>') if not line.startswith('base/host_cpuid.h:')])
bytes_only = r'\b(b[123]|d4|q8)\(t, '
result('bytes of host code are written in engine/emit.h and engine/reencode.c only', [
    line for line in code(['engine'], bytes_only) if not line.startswith(('engine/emit.h:', 'engine/reencode.c:'))])
with open(os.path.join(sources, 'engine/emit.h')) as f:
    forms = re.findall(r'^static inline (?:void|u8 \*)\s*\*?(\w+)\(struct translator \*t\b', f.read(), re.M)
with open(os.path.join(sources, 'tests/unit/test_emit.c')) as f:
    tested = f.read()
parts = {'b1', 'b2', 'b3', 'd4', 'q8', 'rex', 'modrm_mem', 'modrm_mem32', 'flags_change', 'reg_changes', 'hold_ptr',
         'op_does', 'alu_does', 'jmp_rx'}
result('each form of engine/emit.h is in tests/unit/test_emit.c', [
    x for x in forms if x not in parts and not re.search(r'\b%s\(' % x, tested)])
settings = ['eoi_mode', 'ids_32bit', 'no_broadcast_quirk', 'apic_bus_ns', 'disabled_quirks']
result('a setting of the interrupt controllers is kept once', [
    '%s: %s' % (s, line) for s in settings
    for line in code([d for d in layers if d != 'base'], r'\b(u32|u64|bool) ([\w, ]*, )?%s\b[\w, ]*;' % s)
    if not line.startswith('irq/irqchip.h:')])

# -- callbacks: the table of docs/architecture.md --
declared, filled = {}, {}
for folder in layers:
    for name in sorted(os.listdir(os.path.join(sources, folder))):
        path = folder + '/' + name
        if name.endswith(('.c', '.h')):
            with open(os.path.join(sources, path)) as f:
                text = re.sub(r'/\*.*?\*/', '', f.read(), flags=re.S)
            if name.endswith('.h'):
                for m in re.finditer(r'^struct (\w+) \{\n(.*?)^\}', text, re.S | re.M):
                    # X_fn: a copy of a member, where generated code finds it
                    n = len(re.findall(r'\(\*\w+(?<!_fn)\)\(', m[2]))
                    if n and re.search(r'_(ops|hooks)$', m[1]):
                        declared[m[1]] = path
                    elif n > 2 and not re.search(r'_(row|device)$', m[1]):	# tables, called from above
                        declared['%s (not named _ops or _hooks)' % m[1]] = path
            else:
                for m in re.finditer(r'^(?:static )?const struct (\w+_(?:ops|hooks)) \w+ = \{', text, re.M):
                    filled.setdefault(m[1], set()).add(path)
found = {'%s in %s, filled in by %s' % (s, declared[s], ', '.join(sorted(filled.get(s, {'nobody'}))))
         for s in declared}
told = set()
with open(os.path.join(sources, 'docs/architecture.md')) as f:
    for line in f:
        m = re.match(r'\| `struct (\w+)` \| `([^`]+)` \| (.*?) \|', line)
        if m:
            told.add('%s in %s, filled in by %s' % (m[1], m[2], ', '.join(sorted(re.findall(r'`([^`]+)`', m[3])))))
result('the callbacks in the table are those of the code',
       ['not in the table: ' + x for x in sorted(found - told)] + ['not in the code: ' + x for x in sorted(told - found)])

# base/result.h: why the guest is left travels as its own type, never as an int.
with open(os.path.join(sources, 'base/result.h')) as f:
    values = '(?:%s)' % '|'.join(re.findall(r'^\t(CPU_[A-Z]+)\b', f.read(), re.M))
bad = []
for folder in ('engine', 'mmu', 'cpu', 'svm', 'vcpu', 'direct'):
    for name in sorted(os.listdir(os.path.join(sources, folder)) if folder in layers else []):
        if not name.endswith(('.c', '.h')):
            continue
        with open(os.path.join(sources, folder, name)) as f:
            text = re.sub(r'/\*.*?\*/', '', f.read(), flags=re.S)
        for m in re.finditer(r'^(?:static )?(?:inline )?int (\w+)\([^;{]*\)\s*\{\n(.*?)^\}', text, re.S | re.M):
            if re.search(r'\breturn ' + values + r'\b', m[2]):
                bad.append('%s/%s: %s() returns an int' % (folder, name, m[1]))
        bad += ['%s/%s: int %s = %s' % (folder, name, m[1], m[2])
                for m in re.finditer(r'\bint (\w+) = (' + values + r')\b', text)]
result('why the guest is left is an enum cpu_result', bad)

finish()
