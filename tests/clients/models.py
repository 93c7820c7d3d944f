# SPDX-License-Identifier: MIT
"""Client tests: QEMU starts every CPU model that AMD hosts are given, and warns about nothing.

A model may miss what the host's own processor does not have, and what is left out on purpose (README).
"""
import functools
import os
import re
import subprocess

import vm

# What libvirt asks for a Windows 11 guest, older and newer; and all there is.
WINDOWS = 'host,migratable=off,hv-time=on,hv-relaxed=on,hv-vapic=on,hv-spinlocks=0x1fff,hv-vpindex=on,hv-runtime=on,' \
    'hv-synic=on,hv-stimer=on,hv-stimer-direct=on,hv-reset=on,hv-vendor-id=KVMKVMKVM,hv-frequencies=on,' \
    'hv-reenlightenment=on,hv-tlbflush=on,hv-ipi=on'
HYPERV = {'windows': WINDOWS, 'passthrough': 'host,hv-passthrough',
          'all': WINDOWS + ',hv-tlbflush-ext=on,hv-tlbflush-direct=on,hv-emsr-bitmap=on,hv-xmm-input=on,hv-avic=on,'
          'hv-syndbg=on,hv-no-nonarch-coresharing=auto,hv-enforce-cpuid=on,+invtsc'}
LEFT_OUT = {}
QEMU = os.environ.get('QEMU', 'qemu-system-x86_64')


def host_flags():
    with open('/proc/cpuinfo') as f:
        for line in f:
            if line.startswith('flags'):
                return set(line.split(':')[1].split())
    return set()


# As QEMU names them, and Linux.
HOST = {'pku': 'pku', 'CPUID.0DH:EAX[9]': 'pku', 'clwb': 'clwb', 'gfni': 'gfni', 'vaes': 'vaes',
        'vpclmulqdq': 'vpclmulqdq', 'sha-ni': 'sha_ni', 'rdseed': 'rdseed', 'adx': 'adx',
        'avx512f': 'avx512f', 'avx512dq': 'avx512dq', 'avx512ifma': 'avx512ifma', 'avx512cd': 'avx512cd',
        'avx512bw': 'avx512bw', 'avx512vl': 'avx512vl', 'avx512vbmi': 'avx512vbmi', 'avx512-vbmi2': 'avx512_vbmi2',
        'avx512vbmi2': 'avx512_vbmi2', 'avx512-vnni': 'avx512_vnni', 'avx512vnni': 'avx512_vnni',
        'avx512-bitalg': 'avx512_bitalg', 'avx512bitalg': 'avx512_bitalg', 'avx512-bf16': 'avx512_bf16',
        'avx512-vpopcntdq': 'avx512_vpopcntdq', 'rdpru': 'rdpru', 'movdiri': 'movdiri', 'movdir64b': 'movdir64b',
        'avx-vnni': 'avx_vnni', 'avx512-vp2intersect': 'avx512_vp2intersect', 'umip': 'umip', 'wbnoinvd': 'wbnoinvd'}
# Not in every QEMU; those with 5-level paging want our setting for it.
NEWER = ('EPYC-v4', 'EPYC-Rome-v4', 'EPYC-Milan-v2', 'EPYC-Genoa', 'EPYC-Genoa-v2', 'EPYC-Turin')
LA57 = ('EPYC-Genoa', 'EPYC-Genoa-v2', 'EPYC-Turin')


def start(cpu, smp):
    """The warnings of one start, and whether QEMU was content."""
    argv = vm.launcher('standin') + [QEMU, '-accel', 'kvm', '-M', 'q35', '-smp', str(smp), '-display',
                                     'none', '-nodefaults', '-S', '-monitor', 'stdio']
    if cpu:
        argv += ['-cpu', cpu]
    p = subprocess.run(argv, input='quit\n', stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       timeout=60, text=True, errors='replace',
                       env=dict(os.environ, **({'STANDIN_LA57': '1'} if (cpu or '').split(',')[0] in LA57 else {})))
    return [line for line in p.stdout.splitlines()
            if re.search('warning|error|requested|not supported|require', line)], p.returncode


def missing(line):
    """The feature's name; one that has none is called as QEMU 7 to 10 would: CPUID.0DH:EAX[9]."""
    m = re.search(r'feature: CPUID(?:\.(\w+):|\[eax=(\w+)[^]]*\]\.)(E[A-D]X)(?:\.(\S+))? \[bit (\d+)\]', line)
    return m and (m.group(4) or f'CPUID.{(m.group(1) or m.group(2)).upper()}:{m.group(3)}[{m.group(5)}]')


@functools.lru_cache(None)
def known():
    """The models of this QEMU."""
    text = subprocess.run([QEMU, '-cpu', 'help'], stdout=subprocess.PIPE, text=True).stdout
    return {line.split()[0] for line in text.splitlines() if line.strip()}


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


def newer(cpu):
    return model(cpu) if cpu in known() else ('skip', f'this QEMU has no {cpu}', [])


def tests():
    if vm.ACCEL == 'tcg':
        return []
    found = [(f'model-quiet-{cpu or "default"}-smp{smp}', True, functools.partial(quiet, cpu, smp))
             for cpu in ('', 'max', 'host', 'kvm64') for smp in (1, 2)]
    found += [(f'model-hyperv-{name}', True, functools.partial(quiet, cpu, 2)) for name, cpu in HYPERV.items()]
    found += [(f'model-{cpu}', True, functools.partial(newer, cpu)) for cpu in NEWER]
    return found + [(f'model-{cpu}', True, functools.partial(model, cpu))
                    for cpu in ('EPYC-v1', 'EPYC-v2', 'EPYC-v3', 'EPYC-Rome', 'EPYC-Rome-v2', 'EPYC-Milan')]
