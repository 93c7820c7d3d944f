# SPDX-License-Identifier: MIT
"""Client tests: firmware that keeps its secrets in SMM. OVMF, built for that, on q35 with flash that only
SMM may write; its Secure Boot starts Debian's shim, GRUB and kernel, which are signed."""
import functools
import os
import shutil
import subprocess

import machine as m
import migrate
import monitor
import vm

WRITES = 60
# The firmware locks this away (q35's smbase-smram); after a migration QEMU shows it again.
SMBASE = range(0x30000, 0x50000)


def started(machines, name, irqchip, smp, files=None, extra=()):
    """A guest on its way to writing EFI variables, each of which is an SMI or more. files: another one's."""
    for program, package in (('mformat', 'mtools'), ('qemu-img', 'qemu-utils')):
        if not shutil.which(program):
            raise m.Skip(f'no {package}')
    folder = vm.script('firmware')
    esp, variables = files or [os.path.join(vm.WORK, name + end) for end in ('.esp', '.vars')]
    # The largest physical addresses cost memory: see monitor.ovmf.
    argv = vm.command(machine='q35', irqchip=irqchip, smp=smp, do='efivars,off', quiet=False,
                      cpu='max,host-phys-bits-limit=40', tag='-efivars', modules='efivarfs',
                      append=f'efivars={WRITES}')
    with_kernel = [argv[argv.index(k) + 1] for k in ('-kernel', '-initrd', '-append')]
    for k in ('-kernel', '-initrd', '-append'):
        del argv[argv.index(k):argv.index(k) + 2]
    if not files:
        vm.script('secureboot', esp, *with_kernel)
        # Of a form that snapshots can be in.
        subprocess.run(['qemu-img', 'convert', '-O', 'qcow2', os.path.join(folder, 'OVMF_VARS_4M.ms.fd'),
                        variables], check=True)
    argv[argv.index('-machine') + 1] += ',smm=on'
    argv += ['-global', 'driver=cfi.pflash01,property=secure,value=on',
             '-global', 'ICH9-LPC.disable_s3=1',
             '-drive', 'if=pflash,format=raw,readonly=on,file=' +
             os.path.join(folder, 'OVMF_CODE_4M.secboot.fd'),
             '-drive', f'if=pflash,format=qcow2,file={variables}',
             '-drive', f'id=esp,if=none,format=raw,readonly=on,file={esp}',
             '-device', 'virtio-blk-pci,drive=esp', *extra]
    guest = m.Machine(argv, name)
    machines.append(guest)
    return guest, (esp, variables)


def ended(guest, files, before=()):
    guest.wait('efivars', 120)
    guest.check()
    guest.finish(60)
    for line in ('UEFI Secure Boot is enabled', 'Kernel is locked down from EFI Secure Boot'):
        if not any(line in seen for seen in (*before, *guest.lines)):
            raise m.Trouble(f'not on the console: {line}')
    for path in files:
        os.unlink(path)


@m.verdict
def secureboot(machines, irqchip, smp):
    """Signed from the firmware on."""
    guest, files = started(machines, f'secureboot-{irqchip}-smp{smp}', irqchip, smp)
    guest.wait('init', 120)
    ended(guest, files)
    return (f'init after {guest.result.when("init"):.2f} s, {WRITES} variables in '
            f'{guest.result.when("efivars") - guest.result.when("init"):.2f} s')


@m.verdict
def snapshot(machines, irqchip, smp):
    """Saved and loaded while the guest is in and out of SMM."""
    guest, files = started(machines, f'secureboot-savevm-{irqchip}', irqchip, smp)
    guest.wait('efivar', 150)
    for tag in ('one', 'two', 'three'):
        monitor.order(guest, f'savevm {tag}')
        guest.next('efivar', 60)
        monitor.order(guest, f'loadvm {tag}')
        guest.next('efivar', 60)
    ended(guest, files)
    return ''


@m.verdict
def moved(machines, irqchip, smp):
    """Migrated while the guest is in and out of SMM."""
    name = f'secureboot-migrate-{irqchip}'
    path = os.path.join(vm.WORK, f'{name}.sock')
    guest, files = started(machines, name, irqchip, smp)
    guest.wait('efivar', 150)
    before = []
    for n in (1, 2, 3):
        target, _ = started(machines, f'{name}.{n}', irqchip, smp, files, ('-S', '-incoming', f'unix:{path}'))
        target.qmp('query-status')   # it listens
        migrate.hop(guest, target, path, name, 512, SMBASE)
        before += guest.lines
        guest.kill()
        guest.close()
        target.qmp('cont')
        guest = target
        guest.next('efivar', 60)
    ended(guest, files, before)
    return ''


def tests():
    return [('secureboot-on-smp2', True, functools.partial(secureboot, 'on', 2)),
            ('secureboot-split-smp1', False, functools.partial(secureboot, 'split', 1)),
            ('secureboot-savevm-split', False, functools.partial(snapshot, 'split', 2)),
            ('secureboot-migrate-split', False, functools.partial(moved, 'split', 2))]
