# SPDX-License-Identifier: MIT
"""Client tests: live migration between QEMU processes while the guest is under load.

Each hop: the destination waits with -incoming, the source migrates over a Unix socket, both are
stopped and their whole memory is compared, then the destination goes on and every counter of the
load must rise again.
"""
import functools
import os
import time

import load
import machine as m
import qemu
import vm
from echo import Echo

DISK = 16 << 20
MEMORY = 256
# An answer that waits in a socket of the source is lost with it: ask again soon.
WORK = 'patience=2000,tick,ipi,vec,blk,net,mem=3000'
NAMES = ('tick', 'ipi', 'flip', 'vec', 'write', 'net', 'mem')


def wait_migration(guest, seconds=90):
    end = time.monotonic() + seconds
    while True:
        info = guest.qmp('query-migrate')
        status = info.get('status')
        if status == 'completed':
            return info
        if status in ('failed', 'cancelled'):
            raise m.Trouble(f'migration {status}: {info.get("error-desc", "")}')
        if time.monotonic() > end:
            raise m.Trouble(f'migration has not converged in {seconds} s: {info}')
        time.sleep(0.05)


def wait_state(guest, states, seconds=30):
    end = time.monotonic() + seconds
    while guest.state() not in states:
        if time.monotonic() > end:
            raise m.Trouble(f'state {guest.state()} instead of {states}')
        time.sleep(0.02)


def same_memory(one, other, name, size=MEMORY, hidden=range(0)):
    """Both machines stand still: every byte of their memory must be the same, but where a device may hide it."""
    paths = [os.path.join(vm.WORK, f'{name}.{side}.mem') for side in 'ab']
    try:
        for guest, path in zip((one, other), paths):
            guest.qmp('pmemsave', val=0, size=size << 20, filename=path)
        with open(paths[0], 'rb') as a, open(paths[1], 'rb') as b:
            at, wrong = 0, []
            while True:
                x, y = a.read(1 << 20), b.read(1 << 20)
                if x != y:
                    for i in range(0, len(x), 4096):
                        if x[i:i + 4096] != y[i:i + 4096]:
                            wrong += [at + j for j in range(i, i + 4096)
                                      if x[j] != y[j] and at + j not in hidden]
                if not x:
                    break
                at += len(x)
        # Writing the MSR of the wall clock makes KVM write the structure: version, s, ns.
        if wrong and not (wrong[-1] - wrong[0] < 12 and wrong[0] % 4 == 0):
            raise m.Trouble(f'after migration the memory differs in {len(wrong)} bytes from '
                            f'{wrong[0]:#x} to {wrong[-1]:#x}')
    finally:
        for path in paths:
            if os.path.exists(path):
                os.unlink(path)


def postcopy(source, target, path):
    """Moves the guest at once; its memory follows, the missing page first (userfaultfd)."""
    for guest in (source, target):
        guest.qmp('migrate-set-capabilities',
                  capabilities=[{'capability': 'postcopy-ram', 'state': True}])
        # Slow enough that most pages are still missing when the target runs.
        guest.qmp('migrate-set-parameters', max_bandwidth=8 << 20, max_postcopy_bandwidth=32 << 20)
    target.qmp('migrate-incoming', uri=f'unix:{path}')
    source.qmp('migrate', uri=f'unix:{path}')
    time.sleep(1)
    source.qmp('migrate-start-postcopy')
    wait_state(target, ('running',))
    missing = source.qmp('query-migrate')['ram']['remaining'] >> 20
    info = wait_migration(source)
    if not info['ram'].get('postcopy-requests'):
        raise m.Trouble('the target asked for no page')
    return missing, info['ram']['postcopy-requests']


def hop(source, target, path, name, size=MEMORY, hidden=range(0)):
    """Moves the guest; returns the downtime in ms that QEMU states."""
    for guest in (source, target):
        guest.qmp('migrate-set-parameters', downtime_limit=3000, max_bandwidth=1 << 34)
    source.qmp('migrate', uri=f'unix:{path}')
    info = wait_migration(source)
    wait_state(target, ('paused', 'prelaunch'))
    same_memory(source, target, name, size, hidden)
    return info['downtime']


@m.verdict
def migrate_postcopy(machines, irqchip, smp):
    name = f'migrate-postcopy-{irqchip}'
    disk = vm.disk(name + '.disk', DISK, False)
    path = os.path.join(vm.WORK, f'{name}.sock')
    with Echo() as echo:
        guest = load.loaded(name + '.0', 'q35', irqchip, smp, echo.port, WORK, disk)
        machines.append(guest)
        others = load.begin(guest)
        load.progress(guest, NAMES)
        target = load.loaded(f'{name}.1', 'q35', irqchip, smp, echo.port, WORK, disk,
                             extra=('-incoming', 'defer'))
        machines.append(target)
        missing, requests = postcopy(guest, target, path)
        done = load.blk_account(guest)
        guest.kill()
        guest.close()
        load.progress(target, NAMES)
        target.check()
        final = load.settle(target, echo, (others[0] - done[0], others[1] - done[1]))
    os.unlink(disk)
    return f'{missing} MiB missing at the start, {requests} pages asked for; ' + load.summary(final)


@m.verdict
def migrate(machines, board, irqchip, smp, hops, accel='', cpu=''):
    name = f'migrate-{board}-{irqchip}-{accel[:10]}{"hyperv" if cpu else ""}{hops}'
    more = {'cpu': cpu} if cpu else {}
    disk = vm.disk(name + '.disk', DISK, False)
    path = os.path.join(vm.WORK, f'{name}.sock')
    down = []
    with Echo() as echo:
        guest = load.loaded(name + '.0', board, irqchip, smp, echo.port, WORK, disk, accel=accel,
                            **more)
        machines.append(guest)
        others = load.begin(guest)
        last = load.progress(guest, NAMES)
        began = time.monotonic()
        clock = last['ms']
        for n in range(1, hops + 1):
            target = load.loaded(f'{name}.{n}', board, irqchip, smp, echo.port, WORK, disk,
                                 accel=accel, extra=('-S', '-incoming', f'unix:{path}'), **more)
            machines.append(target)
            target.qmp('query-status')   # it listens
            down.append(hop(guest, target, path, name))
            done = load.blk_account(guest)
            # What the target has to add to its own account.
            others = others[0] - done[0], others[1] - done[1]
            guest.kill()
            guest.close()
            before = last
            target.qmp('cont')
            guest = target
            last = load.progress(guest, NAMES)
            if last['ms'] < before['ms']:
                raise m.Trouble(f'hop {n}: the clock went back')
            guest.check()
        # The guest's clock stands still only while the guest does.
        host, inside = (time.monotonic() - began) * 1000, last['ms'] - clock
        if inside > host + 1500:
            raise m.Trouble(f'the guest counted {inside} ms, the host only {host:.0f}')
        final = load.settle(guest, echo, others)
    os.unlink(disk)
    if final['resent'] > (hops + 1) * load.NET_THREADS:
        raise m.Trouble(f'{final["resent"]} datagrams got no answer within 2 s')
    return f'downtime {min(down)} to {max(down)} ms; guest {inside} ms, host {host:.0f} ms; ' + \
        load.summary(final)


def tests():
    found = []
    for board, irqchip in (('q35', 'on'), ('q35', 'split'), ('microvm', 'on'), ('microvm', 'split')):
        found.append((f'migrate-{board}-{irqchip}', board == 'q35',
                      functools.partial(migrate, board, irqchip, 2, 2)))
        found.append((f'migrate-{board}-{irqchip}-20', False,
                      functools.partial(migrate, board, irqchip, 8, 20)))
    found.append(('migrate-q35-split-ring', True,
                  functools.partial(migrate, 'q35', 'split', 2, 2, 'dirty-ring-size=4096')))
    found.append(('migrate-q35-split-hyperv', True,
                  functools.partial(migrate, 'q35', 'split', 2, 2, '', qemu.HYPERV)))
    found.append(('migrate-postcopy', False, functools.partial(migrate_postcopy, 'on', 2)))
    return found
