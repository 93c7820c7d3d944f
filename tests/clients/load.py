# SPDX-License-Identifier: MIT
"""Client tests: many interrupts for a time, and afterwards guest and host have the same counts."""
import functools
import os
import time

import machine as m
import vm
from echo import Echo

DISK = 16 << 20
NET_THREADS = 2     # as in pulse.c
MINUTES = float(os.environ.get('LOAD_MINUTES', '10'))


def drive(path, bus, form='raw'):
    # One request of the guest must be one request of QEMU's account.
    return ['-drive', f'id=d0,if=none,format={form},file={path},cache=unsafe',
            '-device', f'virtio-blk-{bus},drive=d0,request-merging=off']


def loaded(name, board, irqchip, smp, port, work, disk, form='raw', memory=256, extra=(),
           pauses=True, accel='', **more):
    """A Machine whose guest runs tests/clients/pulse.c; `work` is what it does.

    `accel`: more options of the accelerator.
    `pauses`: the test stops the machine; its kernel may then find the TSC unstable, because QEMU
    stops the kvmclock, with which the kernel compares it."""
    bus = 'device' if board == 'microvm' else 'pci'
    program = m.pulse()
    pulse = work.replace('net', f'net={port}')
    argv = vm.command(machine=board, irqchip=irqchip, smp=smp, do='pulse,off', net=True,
                      memory=memory, files=(program,), tag='-pulse', quiet=False,
                      append=f'pulse={pulse}' + (' pauses=1' if pauses else ''), extra=[*drive(disk, bus, form), *extra], **more)
    if accel:
        argv[argv.index('-accel') + 1] += ',' + accel
    return m.Machine(argv, name)


def begin(guest):
    """Lets the load start; returns (reads, writes) of the firmware and QEMU itself."""
    ready = guest.wait('ready', 60).split()
    host = blk_account(guest)
    guest.check()
    guest.send('go')
    return host[0] - int(ready[0]), host[1] - int(ready[4])


def counters(report):
    """'a=1 b=2' -> {'a': 1, 'b': 2}"""
    return {k: int(v) for k, v in (word.split('=') for word in report.split())}


def progress(guest, names, seconds=60, key='pulse'):
    """Every named counter must rise; returns the last report."""
    first = counters(guest.next(key, seconds))
    end = time.monotonic() + seconds
    while True:
        last = counters(guest.next(key, seconds))
        still = [n for n in names if last[n] <= first[n]]
        if not still:
            return last
        if time.monotonic() > end:
            raise m.Trouble(f'no progress in {seconds} s: {", ".join(still)}')


def blk_account(guest):
    """(reads, writes) that QEMU has completed on the first disk."""
    for device in guest.qmp('query-blockstats'):
        if device.get('device') == 'd0':
            return device['stats']['rd_operations'], device['stats']['wr_operations']
    raise m.Trouble('QEMU has no account of the disk')


def settle(guest, echo, others=(0, 0)):
    """Stops the load and compares. `others`: requests in QEMU's account that the guest's does not
    have (begin()), less those that earlier QEMU processes completed."""
    guest.send('stop')
    final = counters(guest.wait('final', 60))
    vda = [int(v) for v in guest.wait('vda', 30).split()]
    guest.wait('stopped', 30)
    host = tuple(a - b for a, b in zip(blk_account(guest), others))
    if (vda[0], vda[4]) != host:
        raise m.Trouble(f'disk requests: the guest counts {vda[0]} reads, {vda[4]} writes;'
                        f' the host {host[0]} and {host[1]}')
    if vda[0] < final['read'] or vda[4] < final['write']:
        raise m.Trouble('the program saw more requests completed than the guest kernel')
    if echo.received != final['net']:
        raise m.Trouble(f'datagrams: the guest sent {final["net"]}, {echo.received} arrived')
    if final['bad']:
        raise m.Trouble(f'{final["bad"]} errors in the guest')
    guest.send('off')
    guest.finish()
    return final


def summary(final):
    return ' '.join(f'{k}={v}' for k, v in final.items())


@m.verdict
def load(machines, board, irqchip, smp, seconds):
    name = f'load-{board}-{irqchip}-{seconds}'
    disk = vm.disk(name + '.disk', DISK, False)
    with Echo() as echo:
        guest = loaded(name, board, irqchip, smp, echo.port, 'tick,ipi,blk,net,mem=2000', disk,
                       pauses=False)
        machines.append(guest)
        others = begin(guest)
        end = time.monotonic() + seconds
        names = ('tick', 'ipi', 'flip', 'write', 'net', 'mem')
        while time.monotonic() < end:
            progress(guest, names)
        final = settle(guest, echo, others)
    os.unlink(disk)
    if final['resent']:
        raise m.Trouble(f'{final["resent"]} datagrams got no answer within 10 s')
    return summary(final)


def tests():
    found = []
    for board in ('microvm', 'q35'):
        for irqchip in ('on', 'split'):
            # In `make check`: ten seconds on two of the four, eight vCPUs.
            short = (board, irqchip) in (('q35', 'on'), ('microvm', 'split'))
            found.append((f'load-{board}-{irqchip}', short,
                          functools.partial(load, board, irqchip, 8, 10)))
            found.append((f'load-{board}-{irqchip}-long', False,
                          functools.partial(load, board, irqchip, 8, round(60 * MINUTES))))
    return found
