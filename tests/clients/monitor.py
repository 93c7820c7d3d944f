# SPDX-License-Identifier: MIT
"""Client tests: what QEMU's monitor does to a running guest, CPU models, UEFI firmware."""
import functools
import itertools
import os
import time

import load
import machine as m
import vm
from echo import Echo

NAMES = ('tick', 'ipi', 'flip', 'vec', 'write', 'net', 'mem')
WORK = 'tick,ipi,vec,blk,net,mem=2000'


@m.verdict
def stopcont(machines, board, irqchip, smp, times):
    """stop: nothing moves, not even the clock; cont: everything does."""
    name = f'stopcont-{board}-{irqchip}'
    disk = vm.disk(name + '.disk', load.DISK, False)
    with Echo() as echo:
        guest = load.loaded(name, board, irqchip, smp, echo.port, WORK, disk)
        machines.append(guest)
        others = load.begin(guest)
        last = load.progress(guest, NAMES)
        began, clock, stood = time.monotonic(), last['ms'], 0
        for n in range(times):
            guest.qmp('stop')
            if guest.state() != 'paused':
                raise m.Trouble(f'state {guest.state()} after stop')
            start = time.monotonic()
            first = guest.count('pulse'), echo.received, load.blk_account(guest)
            time.sleep(1.5)
            if (guest.count('pulse'), echo.received, load.blk_account(guest)) != first:
                raise m.Trouble('the guest did something while it was stopped')
            guest.qmp('cont')
            stood += time.monotonic() - start
            last = load.progress(guest, NAMES)
        inside = last['ms'] - clock
        outside = (time.monotonic() - began - stood) * 1000
        # A report is as late as the machine is busy.
        if abs(inside - outside) > 1500:
            raise m.Trouble(f'the guest counted {inside} ms, it ran for {outside:.0f} ms')
        final = load.settle(guest, echo, others)
    os.unlink(disk)
    return f'ran {outside:.0f} ms, guest counted {inside} ms; ' + load.summary(final)


@m.verdict
def savevm(machines, board, irqchip, smp):
    """Two snapshots under load, loaded in turn; memory and disk must fit each other."""
    name = f'savevm-{board}-{irqchip}'
    disk = m.qcow2(name + '.qcow2', load.DISK)
    with Echo() as echo:
        guest = load.loaded(name, board, irqchip, smp, echo.port, WORK, disk, form='qcow2')
        machines.append(guest)
        load.begin(guest)
        saved = {}
        for tag in ('one', 'two'):
            saved[tag] = load.progress(guest, NAMES)['ms']
            order(guest, f'savevm {tag}')
        for tag in ('one', 'two', 'one'):
            last = load.progress(guest, NAMES)['ms']
            if last < saved[tag]:
                raise m.Trouble(f'the clock went back from {saved[tag]} to {last}')
            order(guest, f'loadvm {tag}')
            now = load.counters(guest.next('pulse'))['ms']
            if not saved[tag] <= now <= saved[tag] + 5000:
                raise m.Trouble(f'after loadvm the clock is {now}, saved at {saved[tag]}')
            load.progress(guest, NAMES)
        guest.send('stop')
        final = load.counters(guest.wait('final', 60))
        guest.wait('stopped', 30)
        guest.check()
        guest.send('off')
        guest.finish()
    os.unlink(disk)
    return load.summary(final)


def order(guest, line):
    """A command of the human monitor that says nothing when all is well."""
    answer = guest.hmp(line).strip()
    if answer:
        raise m.Trouble(f'{line}: {answer}')


def measure(guest, mode):
    # The default of 512 pages a GiB would find 5 of the 1 in 25 pages that are written, give or
    # take 2; the most that QEMU takes finds 40.
    samples = {'sample_pages': 4096} if mode == 'page-sampling' else {}
    guest.qmp('calc-dirty-rate', calc_time=1, mode=mode, **samples)
    end = time.monotonic() + 30
    while True:
        info = guest.qmp('query-dirty-rate')
        if info['status'] == 'measured':
            return info['dirty-rate']
        if time.monotonic() > end:
            raise m.Trouble(f'{mode}: {info}')
        time.sleep(0.1)


@m.verdict
def dirtyrate(machines, modes):
    """QEMU's measurements against what the guest is known to write."""
    name = 'dirtyrate-' + modes[0]
    ring = 'dirty-ring' in modes
    accel = 'kvm,dirty-ring-size=4096' if ring else 'kvm'
    argv = vm.command(machine='q35', smp=2, do='pulse,off', memory=256, files=(m.pulse(),),
                      tag='-pulse', append='pulse=mem=4000', quiet=False)
    argv[argv.index('-accel') + 1] = accel
    guest = m.Machine(argv, name)
    machines.append(guest)
    guest.wait('ready', 60)
    guest.check()
    try:
        quiet = {mode: measure(guest, mode) for mode in modes}
    except m.Trouble as e:
        if 'dirty-ring is not enabled' in str(e):
            raise m.Skip('no KVM_CAP_DIRTY_LOG_RING') from None
        raise
    guest.send('go')
    load.progress(guest, ('mem',))
    loud = {mode: measure(guest, mode) for mode in modes}
    guest.send('stop')
    guest.wait('stopped', 30)
    guest.send('off')
    guest.finish()
    # 4000 writes a second over 4096 pages touch about 2550 of them: 10 MiB; the rest is the
    # kernel's own. A machine that is late makes the guest catch up.
    for mode in modes:
        if quiet[mode] > 6 or not 6 <= loud[mode] <= 40:
            raise m.Trouble(f'{mode}: {quiet[mode]} MiB/s idle, {loud[mode]} MiB/s busy')
    return ', '.join(f'{mode}: {quiet[mode]} idle, {loud[mode]} MiB/s busy' for mode in modes)


@m.verdict
def model(machines, cpu):
    """A CPU model boots, and its name and features are what the guest sees."""
    argv = vm.command(machine='q35', smp=2, do='info,busy,off', cpu=cpu, quiet=False)
    guest = m.Machine(argv, f'cpu-{cpu}')
    machines.append(guest)
    guest.wait('flags', 60)
    guest.check()
    guest.finish(60)
    want = {'host': host_model(), 'max': host_model(), 'EPYC': 'AMD EPYC Processor',
            'qemu64': 'QEMU Virtual CPU version 2.5+'}[cpu]
    seen, flags = guest.result.get('model'), guest.result.get('flags').split()
    if vm.ACCEL != 'tcg' and seen != want:
        raise m.Trouble(f'the guest sees "{seen}" instead of "{want}"')
    for flag, models in (('avx2', ('host', 'max', 'EPYC')), ('hypervisor', (cpu,)), ('lm', (cpu,))):
        if (flag in flags) != (cpu in models):
            raise m.Trouble(f'flag {flag}: {flag in flags}')
    return f'{seen}, {len(flags)} flags'


def host_model():
    with open('/proc/cpuinfo') as f:
        for line in f:
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    return ''


@m.verdict
def ovmf(machines, irqchip, smp):
    """UEFI firmware in flash, started by it Debian's kernel.

    OVMF makes identity page tables for all physical addresses: for 48 bits they need 1 GiB, and
    with less it jumps into nowhere (on TCG too). A processor of 40 bits has small ones.
    """
    folder = vm.script('firmware')
    name = f'ovmf-{irqchip}-smp{smp}'
    variables = m.keep(os.path.join(folder, 'OVMF_VARS_4M.fd'), name + '.vars')
    source = vm.disk(name + '.a', 4 << 20, True)
    argv = vm.command(machine='q35', irqchip=irqchip, smp=smp, do='info,blk,busy,off',
                      cpu='max,host-phys-bits-limit=40',
                      disks=(source,), quiet=False, extra=[
                          '-drive', 'if=pflash,format=raw,readonly=on,file=' +
                          os.path.join(folder, 'OVMF_CODE_4M.fd'),
                          '-drive', f'if=pflash,format=raw,file={variables}'])
    guest = m.Machine(argv, name)
    machines.append(guest)
    first = guest.wait('init', 90)
    guest.check()
    guest.finish(60)
    if not any('efi: EFI v2' in line for line in guest.lines):
        raise m.Trouble('the kernel was not started by UEFI firmware')
    if guest.result.get('blk') != vm.sha256(source):
        raise m.Trouble('the guest read something else from the disk')
    os.unlink(source)
    os.unlink(variables)
    return f'init after {guest.result.when("init"):.2f} s, {first} s of them in the kernel'


def tests():
    found = []
    for board, irqchip in itertools.product(('q35', 'microvm'), ('on', 'split')):
        found.append((f'stopcont-{board}-{irqchip}', (board, irqchip) == ('q35', 'on'),
                      functools.partial(stopcont, board, irqchip, 2, 3)))
        found.append((f'savevm-{board}-{irqchip}', (board, irqchip) == ('q35', 'split'),
                      functools.partial(savevm, board, irqchip, 2)))
    found.append(('dirtyrate-bitmap', True,
                  functools.partial(dirtyrate, ('dirty-bitmap', 'page-sampling'))))
    found.append(('dirtyrate-ring', True, functools.partial(dirtyrate, ('dirty-ring',))))
    for cpu in ('host', 'max', 'EPYC', 'qemu64'):
        found.append((f'cpu-{cpu}', True, functools.partial(model, cpu)))
    for irqchip, smp in (('on', 2), ('split', 1)):
        found.append((f'ovmf-{irqchip}-smp{smp}', irqchip == 'on',
                      functools.partial(ovmf, irqchip, smp)))
    return found
