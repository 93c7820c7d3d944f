# SPDX-License-Identifier: MIT
"""Client tests: QEMU starts every CPU model that AMD hosts are given, and warns about nothing.

A model may miss what the host's own processor does not have, and what is left out on purpose (README).
"""
import functools
import os
import re
import subprocess

import vm

LEFT_OUT = {'perfctr-core': 'there is no PMU'}
QEMU = os.environ.get('QEMU', 'qemu-system-x86_64')


def host_flags():
    with open('/proc/cpuinfo') as f:
        for line in f:
            if line.startswith('flags'):
                return set(line.split(':')[1].split())
    return set()


# As QEMU names them, and Linux.
HOST = {'pku': 'pku', 'CPUID.0DH:EAX[9]': 'pku', 'clwb': 'clwb', 'gfni': 'gfni', 'vaes': 'vaes',
        'vpclmulqdq': 'vpclmulqdq', 'sha-ni': 'sha_ni', 'rdseed': 'rdseed', 'adx': 'adx'}


def start(cpu, smp):
    """The warnings of one start, and whether QEMU was content."""
    argv = vm.launcher('standin') + [QEMU, '-accel', 'kvm', '-M', 'q35', '-smp', str(smp), '-display',
                                     'none', '-nodefaults', '-S', '-monitor', 'stdio']
    if cpu:
        argv += ['-cpu', cpu]
    p = subprocess.run(argv, input='quit\n', stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       timeout=60, text=True, errors='replace')
    return [line for line in p.stdout.splitlines()
            if 'warning' in line or 'error' in line or 'requested' in line], p.returncode


def missing(line):
    """The feature's name; one that has none is called as QEMU 7 to 10 would: CPUID.0DH:EAX[9]."""
    m = re.search(r'feature: CPUID(?:\.(\w+):|\[eax=(\w+)[^]]*\]\.)(E[A-D]X)(?:\.(\S+))? \[bit (\d+)\]', line)
    return m and (m.group(4) or f'CPUID.{(m.group(1) or m.group(2)).upper()}:{m.group(3)}[{m.group(5)}]')


def quiet(cpu, smp):
    lines, status = start(cpu, smp)
    if lines or status:
        return 'fail', f'exit status {status}, {len(lines)} warnings', lines
    return 'ok', '', []


def model(cpu):
    """Every feature that the model has, or a reason."""
    flags = host_flags()
    lines, status = start(cpu, 2)
    left = []
    for line in lines:
        what = missing(line)
        if what in LEFT_OUT or (what in HOST and HOST[what] not in flags):
            left += ['-' + what] if '-' + what not in left else []
        else:
            return 'fail', line, lines
    if status:
        return 'fail', f'exit status {status}', lines
    off = ','.join(f for f in left if '[' not in f)
    lines, status = start(f'{cpu},enforce,{off}' if off else f'{cpu},enforce', 1)
    if status or lines:
        return 'fail', f'with enforce: exit status {status}', lines
    return 'ok', f'{cpu},{",".join(left)}' if left else '', []


def tests():
    if vm.ACCEL == 'tcg':
        return []
    found = [(f'model-quiet-{cpu or "default"}-smp{smp}', True, functools.partial(quiet, cpu, smp))
             for cpu in ('', 'max', 'host', 'kvm64') for smp in (1, 2)]
    return found + [(f'model-{cpu}', True, functools.partial(model, cpu))
                    for cpu in ('EPYC-v1', 'EPYC-v2', 'EPYC-v3', 'EPYC-Rome', 'EPYC-Rome-v2', 'EPYC-Milan')]
