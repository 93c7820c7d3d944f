# SPDX-License-Identifier: MIT
"""Client tests: Debian's Xen (4.17 in Debian 12, 4.20 in 13) as the guest, with a dom0 of its own.

`pv`: dom0 is a paravirtual kernel, whose page tables and interrupts Xen owns; SVM is found and
switched on, and not used. `pvh`: dom0 runs in SVM with nested paging, every device access and interrupt
of it goes through Xen. Xen wants an IOMMU for that, which QEMU emulates.
"""
import functools
import itertools
import subprocess

import vm
from qemu import LIMIT, fail, proof

MEMORY = 1024
# Without an invariant TSC Linux on AMD's CPUs calls the TSC of more than one CPU unsynchronised and counts
# jiffies, which stand still while CPU 0 sleeps in wait of the next: a minute for each CPU.
CPU = 'max,+svm,+npt,+invtsc'
DOM0 = 512
# What the guest's console says when it was so.
SAYS = {'pv': 'Booting kernel on Xen', 'pvh': 'Booting kernel on Xen PVH'}


def command(dom0, irqchip, smp):
    # A comma separates QEMU's multiboot modules, two are one.
    kernel = f'{vm.kernel("generic")} console=hvc0 panic=-1 do=info,,busy,,off loglevel=7'
    xen = f'com1=115200,8n1 console=com1 loglvl=all dom0_mem={DOM0}M'
    iommu = []
    if dom0 == 'pvh':
        xen += ' dom0=pvh'
        iommu = ['-device', 'intel-iommu,intremap=off']
    return vm.launcher(vm.ACCEL) + [
        'qemu-system-x86_64', '-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'q35',
        *vm.accel_args(vm.ACCEL, irqchip), '-cpu', CPU, '-smp', str(smp),
        '-m', str(MEMORY), '-kernel', vm.script('xen'), '-append', xen,
        '-initrd', f'{kernel},{vm.initramfs("generic")}', '-serial', 'stdio', *iommu]


def xen(dom0, irqchip, smp, limit):
    try:
        vm.script('xen')
    except subprocess.CalledProcessError as e:
        if e.returncode == 77:
            return 'skip', 'apt knows no Xen', []
        raise
    r = vm.run(command(dom0, irqchip, smp), f'xen-{dom0}-{irqchip}-smp{smp}', timeout=limit)
    if not r.ok:
        return fail(r, r.why())
    if proof(r):
        return fail(r, proof(r))
    with open(r.log, errors='replace') as f:
        log = f.read()
    for text in (SAYS[dom0], 'HVM: SVM enabled', 'HVM: Hardware Assisted Paging (HAP) detected'):
        if text not in log:
            return fail(r, f'the console lacks "{text}"')
    if r.get('cpus') != str(smp):
        return fail(r, f'dom0 sees {r.get("cpus")} CPUs instead of {smp}')
    if not r.get('busy'):
        return fail(r, 'the CPUs were not kept busy')
    return 'ok', f'init after {r.when("init"):.1f} s, off after {r.seconds:.1f} s', []


def tests():
    found = []
    for dom0, irqchip, smp in itertools.product(('pv', 'pvh'), ('on', 'split'), (1, 2, 4)):
        short = (dom0, irqchip, smp) in (('pv', 'split', 2), ('pvh', 'on', 1))
        found.append((f'xen-{dom0}-{irqchip}-smp{smp}', short,
                      functools.partial(xen, dom0, irqchip, smp, LIMIT if short else 3 * LIMIT)))
    return found
