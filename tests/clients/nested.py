# SPDX-License-Identifier: MIT
"""Client tests: Debian's own KVM (kvm.ko, kvm-amd.ko) runs inside a guest.

L1 is Debian's generic kernel under QEMU; its /dev/kvm serves our guest tests, linked static, and
another QEMU that boots the cloud kernel (L2) on microvm. ACCEL=tcg runs the same on TCG's SVM.
"""
import functools
import os
import re
import subprocess

import load
import machine as m
import migrate
import qemu
import vm

MEMORY = 1024       # of L1, MiB
CPU = 'max,+svm,+npt'
# What TCG's `max` is. With KVM it would be the host's family, and kernels work round the flaws of that: two
# accelerators would run different code.
SAME_CPU = ',family=15,model=107,stepping=1'
LIMIT = int(os.environ.get('NESTED_LIMIT', '300'))
# Those of tests/guest that ask for nothing only we have; and the quick ones for `make check`.
GUESTS = ('exits', 'far', 'faults', 'follow', 'fpu', 'loops', 'paging_rights', 'paging_tlb', 'realmode',
          'segments', 'shadow', 'smc', 'sti', 'strings', 'syscall')
QUICK = ('exits', 'follow', 'fpu', 'paging_tlb', 'realmode', 'segments', 'sti', 'strings', 'syscall')
SCRIPT_HEAD = '''
[ -e /dev/kvm ] || { echo "@@ error no /dev/kvm in L1"; dmesg | tail -20; }
for p in npt avic nested vgif; do
	[ -e /sys/module/kvm_amd/parameters/$p ] &&
		echo "@@ param.$p $(cat /sys/module/kvm_amd/parameters/$p)"
done
'''
SCRIPT_GUESTS = '''
for t in {names}; do
	echo "@@ begin.$t"
	KVM_NODE=/dev/kvm timeout -s KILL 100 /opt/guest_$t >/tmp/out 2>&1
	echo "@@ guest.$t $? $(grep -c '^ok' /tmp/out) $(grep -c '^not ok' /tmp/out)"
	grep -B 3 -A 1 '^not ok' /tmp/out | head -20
	tail -2 /tmp/out
done
'''
SCRIPT_L2 = '''
mkdir -p /tmp/w
cd /tmp/w
echo "@@ l2begin $(cut -d' ' -f1 /proc/uptime)"
timeout -s KILL {limit} /usr/bin/qemu-system-x86_64 -nodefaults -no-user-config -display none \\
	-machine microvm,acpi=on,rtc=on,ioapic2=off -accel kvm -cpu {cpu} -smp {smp} -m 256 \\
	-kernel /opt/vmlinuz -initrd /opt/initramfs-cloud.cpio -L /usr/share/qemu \\
	-append "console=ttyS0 panic=-1 reboot=t loglevel=7 {do}" -serial stdio 2>&1 | while read -r line; do
		case $line in
		*@@\\ *) echo "@@ l2.${{line#*@@ }}" ;;
		*) echo "l2: $line" ;;
		esac
	done
echo "@@ l2end $(cut -d' ' -f1 /proc/uptime)"
'''


def guest_program(name):
    """One of tests/guest, linked static so that it runs in L1."""
    folder = os.path.join(vm.TOP, 'tests/guest')
    path = os.path.join(vm.WORK, 'guest_' + name)
    sources = [os.path.join(folder, name + '.c'), os.path.join(vm.TOP, 'tests/t.c')] + [
        os.path.join(folder, 'harness', f)
        for f in ('who.c', 'area.c', 'vm.c', 'tables.c', 'run.c', 'tap.c')]
    os.makedirs(vm.WORK, exist_ok=True)
    if not os.path.exists(path) or any(os.path.getmtime(s) > os.path.getmtime(path)
                                       for s in sources):
        subprocess.run([os.environ.get('CC', 'gcc'), '-O2', '-std=gnu11', '-D_GNU_SOURCE',
                        '-fno-strict-aliasing', f'-I{vm.TOP}', '-static', '-pthread', '-o', path,
                        *sources], check=True)
    return path


def l1(name, script, smp=2, files=(), cpu=CPU, append='', folder=None, extra=(),
       accel=vm.ACCEL):
    os.makedirs(vm.WORK, exist_ok=True)
    folder = os.path.join(vm.WORK, folder or name)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, 'script')
    text = SCRIPT_HEAD + script
    old = None
    if os.path.exists(path):
        with open(path) as f:
            old = f.read()
    if text != old:     # the initramfs is made again when a file of it is newer
        with open(path, 'w') as f:
            f.write(text)
    argv = vm.command(machine='q35', smp=smp, flavour='generic', do='script,off', memory=MEMORY,
                      files=(path, *files), tag='-' + os.path.basename(folder), quiet=False,
                      modules='kvm_amd', overlay=vm.script('l1-root'), cpu=cpu, append=append,
                      extra=extra, accel=accel)
    return m.Machine(argv, name, accel)


def loaded(guest, npt='Y'):
    guest.wait('init', 120)
    guest.check()
    if guest.wait('param.npt', 60) != npt:
        raise m.Trouble(f'npt is {guest.result.get("param.npt")} in L1')


@m.verdict
def guests(machines, name, names, npt='Y'):
    """Our guest tests as clients of L1's KVM."""
    files = [guest_program(n) for n in names]
    guest = l1(name, SCRIPT_GUESTS.format(names=' '.join(names)), files=files,
               append=f'kvm_amd.npt={npt}')
    machines.append(guest)
    loaded(guest, npt)
    for n in names:
        guest.wait(f'guest.{n}', 120)
    guest.finish(60)
    wrong, passed = [], 0
    for n in names:
        status, good, bad = map(int, guest.result.get(f'guest.{n}').split())
        passed += good
        if status or bad:
            wrong.append(f'{n} (status {status}, {bad} of {good + bad} failed)')
    if wrong:
        raise m.Trouble(', '.join(wrong))
    return f'{passed} tests passed on the KVM of L1'


def finished(guest):
    """What a guest has said whose L2 has come to its end, and then itself."""
    guest.wait('l2.init', LIMIT)
    guest.wait('l2end', LIMIT)
    guest.finish(60)
    r = guest.result
    if r.get('l2.done') != 'ok' or r.all('l2.error'):
        raise m.Trouble(f'L2: {r.all("l2.error") or "no end"}')
    return r


def with_l2(smp, npt='Y', accel=vm.ACCEL, cpu=CPU):
    """L1 whose QEMU boots the cloud kernel."""
    kernel = os.path.join(vm.script('kernel', 'cloud'), 'vmlinuz')
    return l1(f'l1-kvm-microvm-smp{smp}-npt-{npt}',
              SCRIPT_L2.format(limit=LIMIT, smp=smp, cpu='max', do='do=info,busy,off'),
              files=(kernel, vm.initramfs('cloud')), append=f'kvm_amd.npt={npt}', accel=accel, cpu=cpu)


def boot(accel):
    """(seconds to the init of L1, to the init of L2), for scripts/bench; None when it fails."""
    with with_l2(1, accel=accel, cpu=CPU + SAME_CPU) as guest:
        try:
            guest.wait('l2.init', LIMIT)
        except m.Trouble:
            return None
        return guest.result.when('init'), guest.result.when('l2.init')


@m.verdict
def microvm(machines, smp, npt='Y'):
    """QEMU in L1 boots a kernel in L2. Without nested paging L1's KVM shadows L2's page tables."""
    guest = with_l2(smp, npt)
    machines.append(guest)
    loaded(guest, npt)
    r = finished(guest)
    if r.get('l2.cpus') != str(smp):
        raise m.Trouble(f'L2 sees {r.get("l2.cpus")} CPUs')
    return (f'L1 init after {r.when("init"):.2f} s, L2 init after {r.when("l2.init"):.2f} s, '
            f'end of L2 after {r.when("l2end"):.2f} s; busy in L2: {r.get("l2.busy")}')


# Linux as L1 uses what Hyper-V offers nested hypervisors; its QEMU offers L2 flushes that L0 carries out.
HYPERV_L1 = qemu.HYPERV + ',+svm,+npt,hv-tlbflush-ext,hv-tlbflush-direct,hv-emsr-bitmap'
HYPERV_L2 = qemu.HYPERV + ',hv-tlbflush-direct'
HYPERV_SAID = ('Hyper-V Direct TLB Flush enabled', 'l2: .*Using hypercall for remote TLB flush')


@m.verdict
def hyperv(machines):
    """L1 runs on Hyper-V's interface and shows it to L2: its flushes are L0's, its MSR bitmap enlightened."""
    kernel = os.path.join(vm.script('kernel', 'cloud'), 'vmlinuz')
    guest = l1('l1-kvm-hyperv', 'dmesg | grep -i kvm\n' + SCRIPT_L2.format(limit=LIMIT, smp=2, cpu=HYPERV_L2, do='do=info,busy,off'),
               files=(kernel, vm.initramfs('cloud')), cpu=HYPERV_L1)
    machines.append(guest)
    loaded(guest)
    r = finished(guest)
    with open(r.log, errors='replace') as f:
        log = f.read()
    for text in HYPERV_SAID:
        if not re.search(text, log):
            raise m.Trouble(f'nobody said "{text}"')
    if r.get('l2.clocksource') != 'hyperv_clocksource_tsc_page':
        raise m.Trouble(f'L2 keeps time by {r.get("l2.clocksource")}')
    return f'L1 init after {r.when("init"):.2f} s, L2 init after {r.when("l2.init"):.2f} s'


@m.verdict
def migrated(machines, smp, hops):
    """L1 moves from one QEMU process to another while L2 is under load."""
    name = f'l1-kvm-migrate-{hops}'
    kernel = os.path.join(vm.script('kernel', 'cloud'), 'vmlinuz')
    program = m.pulse()
    # L2 prints its reports through L1, and hears "stop" through it.
    ramdisk = vm.initramfs('cloud', (program,), '-pulse')
    script = SCRIPT_L2.format(limit=LIMIT, smp=smp, cpu='max', do='do=pulse,off pauses=1 '
                              'pulse=tick,ipi,mem=500').replace('initramfs-cloud', 'initramfs-cloud-pulse')
    path = os.path.join(vm.WORK, name + '.sock')

    def start(n, extra=()):
        guest = l1(f'{name}.{n}', script, files=(kernel, ramdisk), smp=2, folder=name, extra=extra)
        machines.append(guest)
        return guest

    guest = start(0)
    loaded(guest)
    guest.wait('l2.ready', LIMIT)
    guest.send('go')
    names = ('tick', 'ipi', 'mem')
    last, down, inside = load.progress(guest, names, key='l2.pulse'), [], 0
    for n in range(1, hops + 1):
        target = start(n, ('-S', '-incoming', f'unix:{path}'))
        target.qmp('query-status')
        down.append(migrate.hop(guest, target, path, name, MEMORY))
        guest.kill()
        guest.close()
        with open(target.result.standin_log) as f:
            inside += 'nested state of a running L2 restored' in f.read()
        target.qmp('cont')
        guest, before = target, last
        last = load.progress(guest, names, key='l2.pulse')
        if last['ms'] < before['ms']:
            raise m.Trouble(f'hop {n}: the clock of L2 went back')
        guest.check()
    guest.send('stop')
    final = load.counters(guest.wait('l2.final', 60))
    guest.wait('l2.stopped', 60)
    guest.send('off')
    guest.wait('l2end', 60)
    if final['bad'] or guest.result.all('l2.error'):
        raise m.Trouble(f'L2: {guest.result.all("l2.error")}')
    guest.finish(60)
    return (f'downtime {min(down)} to {max(down)} ms; {inside} of {hops} hops in the middle of L2; '
            'L2: ' + load.summary(final))


def tests():
    return [('l1-kvm-guests', True, functools.partial(guests, 'l1-kvm-guests', QUICK)),
            ('l1-kvm-guests-all', False, functools.partial(guests, 'l1-kvm-guests-all', GUESTS)),
            ('l1-kvm-shadow-guests-all', False,
             functools.partial(guests, 'l1-kvm-shadow-guests-all', GUESTS, 'N')),
            ('l1-kvm-microvm-smp1', True, functools.partial(microvm, 1)),
            ('l1-kvm-microvm-smp2', False, functools.partial(microvm, 2)),
            ('l1-kvm-hyperv', True, functools.partial(hyperv)),
            ('l1-kvm-migrate', False, functools.partial(migrated, 2, 3)),
            ('l1-kvm-shadow-smp1', False, functools.partial(microvm, 1, 'N'))]
