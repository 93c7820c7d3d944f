# SPDX-License-Identifier: MIT
"""Debian's kvm-amd uses the AVIC that standin models, in an L1 guest; its own trace says so."""
import os
import subprocess

import machine as m
import nested
import vm

SCRIPT = '''
echo "@@ release $(uname -r)"
for p in avic; do echo "@@ param.$p $(cat /sys/module/kvm_amd/parameters/$p)"; done
dmesg | grep -i avic | sed 's/^/kernel: /'
for id in 100 511 600; do echo "@@ vcpu.$id $(/opt/bigid $id || echo status $?)"; done
T=/sys/kernel/tracing
mount -t tracefs none $T 2>/dev/null
for e in avic_incomplete_ipi avic_unaccelerated_access avic_doorbell avic_kick_vcpu_slowpath \\
	apicv_inhibit_changed apicv_accept_irq; do
	[ -e $T/events/kvm/kvm_$e ] && echo 1 > $T/events/kvm/kvm_$e/enable
done
echo 16384 > $T/buffer_size_kb
''' + nested.SCRIPT_L2.replace('ioapic2=off -accel kvm', 'pit=off -accel kvm,kernel-irqchip=split') + '''
grep -v '^#' $T/trace > /tmp/trace
for e in avic_incomplete_ipi avic_unaccelerated_access avic_doorbell avic_kick_vcpu_slowpath \\
	apicv_accept_irq; do
	echo "@@ trace.$e $(grep -c kvm_$e: /tmp/trace)"
done
grep kvm_apicv_inhibit_changed: /tmp/trace | head -20
sed -n 's/.*kvm_avic_incomplete_ipi:.*id=/@@ ipi /p' /tmp/trace | sort | uniq -c | head
echo "@@ inhibits $(grep kvm_apicv_inhibit_changed: /tmp/trace | tail -n 1 | sed 's/.*inhibits=//')"
'''


def bigid():
    path = os.path.join(vm.WORK, 'bigid')
    source = os.path.join(vm.TOP, 'tests/clients/bigid.c')
    os.makedirs(vm.WORK, exist_ok=True)
    if not os.path.exists(path) or os.path.getmtime(source) > os.path.getmtime(path):
        subprocess.run([os.environ.get('CC', 'gcc'), '-O2', '-static', '-o', path, source],
                       check=True)
    return path


@m.verdict
def avic(machines, smp):
    kernel = os.path.join(vm.script('kernel', 'cloud'), 'vmlinuz')
    os.environ['STANDIN_SVM'] = 'avic,x2avic'
    try:
        script = SCRIPT.format(limit=nested.LIMIT, smp=smp, cpu='max', do='do=info,busy,off')
        guest = nested.l1(f'l1-kvm-avic-smp{smp}', script,
                          files=(kernel, vm.initramfs('cloud'), bigid()), smp=2,
                          cpu='max,+svm,+npt,migratable=off', append='kvm_amd.avic=1')
    finally:
        del os.environ['STANDIN_SVM']
    machines.append(guest)
    nested.loaded(guest)
    r = nested.finished(guest)
    if r.get('param.avic') != 'Y':
        raise m.Trouble(f'kvm_amd.avic is {r.get("param.avic")} in L1')
    # Linux 6.12 refuses ids that its AVIC cannot address, later ones do without it (docs/kvm-apic.md 3.4).
    old = tuple(int(n) for n in r.get('release').split('.')[:2]) <= (6, 12)
    beyond = '600 22 -' if old else '600 0 2'
    if r.get('vcpu.511') != '511 0 2' or r.get('vcpu.600') != beyond:
        raise m.Trouble(f'vCPUs: {r.get("vcpu.511")}, {r.get("vcpu.600")}')
    if not int(r.get('trace.avic_unaccelerated_access', '0')):
        raise m.Trouble('L1 has seen no AVIC exit: AVIC was not active')
    return ', '.join(f'{k[6:]} {r.get(k)}' for k in (
        'trace.avic_unaccelerated_access', 'trace.avic_incomplete_ipi',
        'trace.avic_kick_vcpu_slowpath', 'trace.avic_doorbell', 'trace.apicv_accept_irq')
        ) + f'; vCPU 511: created and ran, vCPU 600: {"errno 22" if old else "the same"}; L2 init after {r.when("l2.init"):.1f} s'


def tests():
    return [('l1-kvm-avic', True, lambda: avic(2))]
