#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tests/unit/facts.py - one fact, one place: what is counted is shown, numbers of MSRs and bits of CPUID have one name,
# the version stands in one file.
# usage: facts.py SOURCES		prints TAP
import collections
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../house'))
from rules import finish, result

sources = sys.argv[1]
FOLDERS = sorted(d for d in os.listdir(sources) if d not in ('tests', 'docs', 'examples') and
                 os.path.exists(os.path.join(sources, d, 'meson.build')))


def strip(text):
    """Without comments and strings, the lines kept."""
    return re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"', lambda m: '\n' * m[0].count('\n') or '""', text, flags=re.S)


raw, code = {}, {}
for folder in FOLDERS:
    for name in sorted(os.listdir(os.path.join(sources, folder))):
        if name.endswith(('.c', '.h')):
            with open(os.path.join(sources, folder, name)) as f:
                raw[folder + '/' + name] = f.read()
for path in raw:
    code[path] = strip(raw[path])

# -- fields of structs: written and read --
# What others look at: memory of the guest or of user space, records of the host.
SHOWN = {'vcpu/kvmclock.c', 'vcpu/hyperv_synic.c', 'vcpu/fpu.c', 'vm/kvm_uapi.h', 'svm/vmcb.h', 'base/trace.h',
         'base/guard.h', 'door/load.c', 'door/link.py', 'mmu/nested.h'}
fields, declared = {}, collections.Counter()
for path, text in code.items():
    for m in re.finditer(r'^(?:static )?(?:const )?struct (?:\w+ )?\{\n(.*?)^\}', text, re.S | re.M):
        for line in m[1].split(';'):
            d = re.match(r'\s*(?:_Atomic\s+)?(?:bool|[us](?:8|16|32|64)|int|size_t)\s+([\w\s,\[\]/+*-]+)$', line)
            for n in d[1].split(',') if d else []:
                n = re.match(r'\s*(\w+)', n)
                if n and path not in SHOWN:
                    fields.setdefault(n[1], path)
                    declared[n[1]] += 1
reads, writes = collections.Counter(), collections.Counter()
USE = re.compile(r'(->|\.)(\w+)((?:\[[^\]]*\])*)(\s*(?:\+\+|--|[-+|&^*/]?=(?!=)|<<=|>>=))?')
for path, text in code.items():
    for line in text.split('\n'):
        for m in USE.finditer(line):
            if m[2] not in fields:
                continue
            before = line[:m.start()]
            start = re.match(r'\s*(?:\+\+|--)?[\w.>\[\]*&()-]*$', before) is not None
            if re.search(r'(?:atomic_store(?:_explicit)?|atomic_init)\(&[\w.>\[\]-]*$', before):
                writes[m[2]] += 1
            elif m[4] and m[4].strip() in ('++', '--'):
                writes[m[2]] += 1
                reads[m[2]] += not start
            elif m[4]:
                writes[m[2]] += 1
                reads[m[2]] += m[4].strip() != '=' and not start
            elif start and before.strip().startswith(('++', '--')):
                writes[m[2]] += 1
            else:
                reads[m[2]] += 1
                writes[m[2]] += before.endswith('&') or '&' in before[-12:]
words = collections.Counter()
for text in code.values():
    words.update(re.findall(r'\b\w+\b', text))
result('what is counted or kept is read', sorted(
    '%s: %s is written and never read' % (path, n) for n, path in fields.items()
    if writes[n] and not reads[n] and words[n] <= writes[n] + declared[n]))
result('every field is used', sorted(
    '%s: %s' % (path, n) for n, path in fields.items() if words[n] == declared[n]))

# -- statistics --
KEPT = r'\b(?:vcpu_count|vcpu_stat_add|vcpu_stat_set|vm_count|stat_time)\([^;]*\b%s\b|stats->%s\b'
everything = '\n'.join(code.values())
# vcpu_stat_set(v, direct_##name, ...) with X(stays): direct_stays
pasted = re.findall(r'\b(?:vcpu_count|vcpu_stat_add|vcpu_stat_set|vm_count)\(\w+, *(\w+)##', everything)


def kept_by(n):
    return re.search(KEPT % (n, n), everything) or any(
        n.startswith(p) and re.search(r'\bX\(%s\b' % n[len(p):], everything) for p in pasted)


def rows(path, name):
    table = re.search(r'#define %s\(X\) \\\n(?:.*\\\n)*.*\n' % name, code[path])
    return re.findall(r'X\((\w+),', table[0]) if table else []


for path, name in ('vcpu/stats.h', 'VCPU_STATS'), ('vm/vm.h', 'VM_STATS'):
    kept, absent = rows(path, name + '_KEPT'), rows(path, name + '_ABSENT')
    result('%s: every statistic is written, or told to be absent' % path,
           ['no rows'] * (not kept or not absent) +
           ['never written: ' + n for n in kept if not kept_by(n)] +
           ['written: ' + n for n in absent if kept_by(n)])

# -- MSRs --
numbers = {int(m, 0) for m in re.findall(r'X\(\w+, +(0x[0-9a-f]+),', code['base/msrs.h'])}
result('the table of MSRs was found', [] if len(numbers) > 80 else [str(len(numbers))])
bad = []
for path, text in code.items():
    for n, line in enumerate(text.split('\n'), 1):
        for m in re.findall(r'\b0x[0-9a-f]+\b', line):
            # svm/vmcb.h: the ranges of the permission map.
            if path in ('base/msrs.h', 'svm/vmcb.h') or path.startswith(('tools/', 'door/')):
                continue
            value = int(m, 0)
            own = value in numbers and (value >= 0x4b564d00 or re.search(r'\b(msr|MSR|index)\w*\b', line))
            if own or (0xc0010000 < value < 0xc0020000):
                bad.append('%s:%d: %s' % (path, n, line.strip()))
result('the number of an MSR stands in base/msrs.h only', bad)

# -- bits of CPUID --
bits = collections.Counter(re.findall(r'X\(\w+,\s*(\w+, \d+, E[A-D]X, \d+), \w\)', code['base/cpuid_bits.h']))
names = set(re.findall(r'X\((\w+),\s*\w+, \d+, E[A-D]X', code['base/cpuid_bits.h']))
result('a bit of CPUID has one row', ['no table'] * (len(bits) < 100) + [b for b in bits if bits[b] > 1])
result('features of SVM are named by that row', [
    n for n in re.findall(r'^\tX\(\w+, "", ([^)]*)\)', code['svm/checks.h'], re.M) if n not in names] +
    ['no table'] * ('SVM_FEATURES' not in code['svm/checks.h']))

# Hyper-V's MSRs have numbers of the same look.
LEAF = re.compile(r'\b0x(?:8000|4000)00(?!10)[0-9a-f]{2}\b|\bcpuid_(?:find\(\w+, |host\()[0-9]')
result('the number of a leaf of CPUID stands in base/cpuid_*.h only', ['no table'] * (
    'CPUID_LEAVES(X)' not in code['base/cpuid_leaves.h']) + [
    '%s:%d: %s' % (path, n, line.strip()) for path, text in code.items()
    if path not in ('base/cpuid_leaves.h', 'base/cpuid_bits.h', 'base/msrs.h', 'vcpu/hyperv.h')
    for n, line in enumerate(text.split('\n'), 1) if LEAF.search(line)])

# -- in-kernel devices --
devices = re.search(r'#define IRQ_DEVICES\(X\)(.*)', code['irq/device.h'])
devices = re.findall(r'X\((\w+)\)', devices[1]) if devices else []
result('every in-kernel device is a file with a row', ['no list'] * (not devices) + [
    n for n in devices if 'const struct irq_device %s_device = {' % n not in code.get('irq/%s.c' % n, '')])
result('irqchip.c knows no device but by its row', [
    'irq/irqchip.c: ' + line.strip() for line in code['irq/irqchip.c'].split('\n')
    if any(re.search(r'\b%s[_.]|->%s\b' % (n, n), line) for n in devices)])

# -- the version --
with open(os.path.join(sources, 'meson.build')) as f:
    version = re.search(r"version: '([^']+)'", f.read())[1]
result('the version stands in meson.build only', [
    path for path in raw if re.search(r'(?<![\d.])%s(?![\d.])' % re.escape(version), raw[path])])

finish()
