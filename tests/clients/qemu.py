# SPDX-License-Identifier: MIT
"""Client tests with QEMU: machines, irqchip modes, CPU counts, kernels, disk, network, reboot."""
import functools
import http.server
import itertools
import os
import subprocess
import threading

import vm
from machine import tail

DISK = 8 << 20
LIMIT = int(os.environ.get('LIMIT', '120'))  # seconds for one guest


def notes(r):
    return tail(r.log) + tail(r.standin_log, 8)


def fail(r, text):
    return 'fail', text, notes(r)


def proof(r):
    """Empty when it was standin that ran the guest, else what is missing."""
    if vm.ACCEL == 'tcg':
        return ''
    if not r.preloaded:
        return 'libstandin-preload was not seen in QEMU'
    try:
        with open(r.standin_log) as f:
            if 'vm' in f.read().lower():
                return ''
    except OSError:
        pass
    return 'standin logged no VM'


def boot(machine, irqchip, smp, flavour, direct=''):
    """Boot to init, disk read and write, all CPUs busy, power-off. direct: STANDIN_DIRECT."""
    name = f'boot-{"direct-" + direct if direct else machine}-{irqchip}-smp{smp}-{flavour}'
    source = vm.disk(name + '.a', DISK, True)
    target = vm.disk(name + '.b', DISK, False)
    argv = vm.command(machine=machine, irqchip=irqchip, smp=smp, flavour=flavour,
                      do='info,blk,copy,busy,off', disks=(source, target), quiet=False)
    r = vm.run(argv, name, timeout=LIMIT, env={'STANDIN_DIRECT': direct} if direct else None)
    want = vm.sha256(source)
    copied = vm.sha256(target)
    os.unlink(source)
    os.unlink(target)
    if not r.ok:
        return fail(r, r.why())
    if proof(r):
        return fail(r, proof(r))
    if r.get('cpus') != str(smp):
        return fail(r, f'the guest sees {r.get("cpus")} CPUs instead of {smp}')
    if r.get('blk') != want:
        return fail(r, f'sha256 of the disk is {want}, the guest computed {r.get("blk")}')
    if copied != want:
        return fail(r, 'what the guest wrote to the second disk is not what it read')
    text = check_busy(r.get('busy'), smp)
    if text:
        return fail(r, text)
    if direct and vm.ACCEL != 'tcg':
        with open(r.standin_log) as f:
            stubs = f.read().count('direct: stub ')
        if not stubs:
            return fail(r, 'nothing ran directly')
        return 'ok', f'init after {r.when("init"):.2f} s, {stubs} stubs', []
    return 'ok', f'init after {r.when("init"):.2f} s', []


def check_busy(report, smp):
    """alone=A together=T used=U0 U1 ..., in 1/100 s: every CPU must have done its share."""
    alone, together, used = report.split(' ', 2)
    alone = int(alone.split('=')[1])
    used = [int(u) for u in used.split('=')[1].split()]
    if len(used) != smp:
        return f'busy: {len(used)} CPUs reported instead of {smp}'
    if min(used) < alone / 3:
        return f'busy: a CPU stayed idle ({report})'
    return ''


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


# What libvirt asks for a Windows guest, and all that hv-passthrough adds; Linux takes its Hyper-V paths
# when it sees no KVM leaves.
HYPERV = 'host,kvm=off,hv-relaxed,hv-vapic,hv-spinlocks=0x1fff,hv-vpindex,hv-runtime,hv-time,hv-synic,' \
    'hv-stimer,hv-stimer-direct,hv-reset,hv-frequencies,hv-reenlightenment,hv-tlbflush,hv-ipi,hv-crash,' \
    'hv-xmm-input'
HYPERV_USED = ('Using hypercall for remote TLB flush', 'Using IPI hypercalls', 'Using enlightened APIC',
               'Hyper-V stimer0 interrupts')


def boot_hyperv(irqchip, smp, flavour):
    """A guest that uses Hyper-V's interface: its clock, timers, EOI, and hypercalls."""
    name = f'boot-hyperv-{irqchip}-smp{smp}-{flavour}'
    argv = vm.command(machine='q35', irqchip=irqchip, smp=smp, flavour=flavour, do='info,busy,off',
                      quiet=False, cpu=HYPERV)
    r = vm.run(argv, name, timeout=LIMIT)
    if not r.ok:
        return fail(r, r.why())
    if proof(r):
        return fail(r, proof(r))
    if r.get('clocksource') != 'hyperv_clocksource_tsc_page':
        return fail(r, f'the guest keeps time by {r.get("clocksource")}')
    with open(r.log, errors='replace') as f:
        log = f.read()
    missing = [text for text in HYPERV_USED if text not in log]
    if missing:
        return fail(r, f'the kernel did not say "{missing[0]}"')
    return 'ok', f'init after {r.when("init"):.2f} s', []


def boot_keys(irqchip, smp, flavour):
    """Protection keys, which glibc and the kernel's signal frames come upon, whatever the host has."""
    name = f'boot-keys-{irqchip}-smp{smp}-{flavour}'
    argv = vm.command(machine='q35', irqchip=irqchip, smp=smp, flavour=flavour, do='info,busy,off', quiet=False)
    r = vm.run(argv, name, timeout=LIMIT, env={'STANDIN_PKU': '1'})
    if not r.ok:
        return fail(r, r.why())
    if proof(r):
        return fail(r, proof(r))
    if not {'pku', 'ospke'} <= set(r.get('flags', '').split()):
        return fail(r, 'the guest sees no protection keys')
    return 'ok', '', []


def net(machine, irqchip):
    """The guest fetches a file from a server on the host's 127.0.0.1."""
    name = f'net-{machine}-{irqchip}'
    payload = vm.disk(name + '.payload', DISK, True)
    handler = functools.partial(Quiet, directory=vm.WORK)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f'http://10.0.2.2:{server.server_address[1]}/{os.path.basename(payload)}'
        argv = vm.command(machine=machine, irqchip=irqchip, smp=2, do='net,off', net=True,
                          url=url, quiet=False)
        r = vm.run(argv, name, timeout=LIMIT)
    finally:
        server.shutdown()
        server.server_close()
    want = vm.sha256(payload)
    os.unlink(payload)
    if not r.ok:
        return fail(r, r.why())
    if proof(r):
        return fail(r, proof(r))
    if r.get('net') != want:
        return fail(r, f'sha256 of the file is {want}, the guest got {r.get("net")}')
    return 'ok', '', []


def reboot(machine, irqchip, smp):
    """The guest restarts the machine once, then powers it off."""
    name = f'reboot-{machine}-{irqchip}-smp{smp}'
    disks = vm.disk(name + '.a', 1 << 20, True), vm.disk(name + '.b', 1 << 20, False)
    argv = vm.command(machine=machine, irqchip=irqchip, smp=smp, do='reboot,info,off', disks=disks,
                      quiet=False)
    r = vm.run(argv, name, timeout=LIMIT)
    for path in disks:
        os.unlink(path)
    if not r.ok:
        return fail(r, r.why())
    if proof(r):
        return fail(r, proof(r))
    if r.all('reboot') != ['first', 'second'] or len(r.all('init')) != 2:
        return fail(r, f'expected one restart, saw {r.all("reboot")}, {len(r.all("init"))} boots')
    return 'ok', '', []


def demo():
    """`make demo` without a terminal."""
    log = os.path.join(vm.WORK, 'demo-script.log')
    os.makedirs(vm.WORK, exist_ok=True)
    with open(log, 'w') as f:
        p = subprocess.run([os.path.join(vm.TOP, 'scripts/demo'), '--no-build'],
                           stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT,
                           timeout=300)
    if p.returncode:
        return 'fail', f'scripts/demo ended with status {p.returncode}', tail(log)
    return 'ok', '', []




def tests():
    found = []
    for point in itertools.product(('microvm', 'q35'), ('on', 'split'), (1, 2, 4),
                                   ('cloud', 'generic')):
        machine, irqchip, smp, flavour = point
        found.append((f'boot-{machine}-{irqchip}-smp{smp}-{flavour}', True,
                      functools.partial(boot, *point)))
    for smp, direct in ((2, 'always'), (1, '1')):
        found.append((f'boot-direct-{direct}-on-smp{smp}-cloud', direct == 'always',
                      functools.partial(boot, 'q35', 'on', smp, 'cloud', direct)))
    for point in (('on', 1, 'cloud'), ('on', 4, 'generic'), ('split', 2, 'cloud')):
        found.append((f'boot-hyperv-{point[0]}-smp{point[1]}-{point[2]}', point[0] == 'split',
                      functools.partial(boot_hyperv, *point)))
    found.append(('boot-keys-split-smp2-cloud', vm.ACCEL != 'tcg', functools.partial(boot_keys, 'split', 2, 'cloud')))
    for machine, irqchip in itertools.product(('microvm', 'q35'), ('on', 'split')):
        short = (machine, irqchip) in (('microvm', 'split'), ('q35', 'on'))
        found.append((f'net-{machine}-{irqchip}', short, functools.partial(net, machine, irqchip)))
    for machine, irqchip, smp in itertools.product(('microvm', 'q35'), ('on', 'split'), (1, 2)):
        short = (machine, irqchip, smp) in (('microvm', 'on', 1), ('q35', 'on', 2))
        found.append((f'reboot-{machine}-{irqchip}-smp{smp}', short,
                      functools.partial(reboot, machine, irqchip, smp)))
    found.append(('demo', True, demo))
    return found
