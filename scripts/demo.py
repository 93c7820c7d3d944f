# SPDX-License-Identifier: MIT
"""Second half of scripts/demo: everything is built, now boot."""
import argparse
import os
import pty
import re
import shlex
import sys
import time

import vm

# Kernels without PCI call that fatal, at the level of errors.
QUIET = 'loglevel=3'


def options():
    p = argparse.ArgumentParser(prog='scripts/demo')
    p.add_argument('--no-build', action='store_true', help='use what is built')
    p.add_argument('--machine', choices=('microvm', 'q35'), default='microvm')
    p.add_argument('--kernel', choices=('cloud', 'generic'), default='cloud')
    p.add_argument('--smp', type=int, default=2)
    p.add_argument('--irqchip', choices=('on', 'split'), default='on')
    return p.parse_args()


def what(o):
    on = 'QEMU TCG' if vm.ACCEL == 'tcg' else 'standin'
    return f'{o.kernel} kernel, {o.machine}, {o.smp} CPUs, on {on}'


class Reports:
    """Passes QEMU's output on; the guest's reports become something readable."""

    def __init__(self):
        self.start = time.monotonic()
        self.held = b''

    def __call__(self, fd):
        while True:
            try:
                data = os.read(fd, 65536)
            except OSError:     # the pseudo-terminal of a program that has ended
                data = b''
            *lines, rest = (self.held + data).split(b'\n')
            # A prompt is shown at once, the beginning of a report when its line is complete.
            self.held = rest if data and re.match(rb'@(@|$)', rest) else b''
            out = b''.join(self.line(text + b'\n') for text in lines) + (b'' if self.held else rest)
            if out or not data:
                return out

    def line(self, text):
        took = f'Boot took {time.monotonic() - self.start:.2f} s from starting QEMU to /init.\r\n'
        if text.startswith(b'@@ init'):
            return took.encode()
        return b'Power-off.\r\n' if text.startswith(b'@@ done ok') else text


def interactive(o):
    argv = vm.command(machine=o.machine, smp=o.smp, flavour=o.kernel, irqchip=o.irqchip,
                      do='shell,off', net=True, append=QUIET)
    argv[argv.index('stdio')] = 'mon:stdio'
    print(f'Booting: {what(o)}. Leave with "exit", or Ctrl-A X.', flush=True)
    # A pseudo-terminal between QEMU and the user's, so that we see the output pass.
    return os.waitstatus_to_exitcode(pty.spawn(argv, Reports()))


def shown(text):
    """A line of the guest's console, but for its table of interrupts."""
    if not re.match(r'\s*(CPU\d|\w+:\s+\d)', text):
        print('  | ' + text, flush=True)


def unattended(o):
    disk = vm.disk('demo.img', 16 << 20, True)
    argv = vm.command(machine=o.machine, smp=o.smp, flavour=o.kernel, irqchip=o.irqchip,
                      do='info,blk,busy,off', disks=(disk,), append=QUIET)
    print(f'Booting: {what(o)}')
    print('$ ' + shlex.join(argv), flush=True)
    r = vm.run(argv, 'demo', timeout=180, echo=shown)
    want = vm.sha256(disk)
    os.unlink(disk)

    checks = []
    checks.append(('the guest reported success', r.ok, r.why()))
    checks.append((f'{o.smp} CPUs', r.get('cpus') == str(o.smp), f'the guest sees {r.get("cpus")}'))
    checks.append(('the disk\'s checksum is the host\'s', r.get('blk') == want,
                   f'host {want}, guest {r.get("blk")}'))
    busy = r.get('busy', 'used=')
    used = [int(u) for u in busy.split('used=')[1].split()]
    checks.append(('every CPU was busy', len(used) == o.smp and min(used) > 5, busy))
    if vm.ACCEL != 'tcg':
        checks.append(('the machine\'s own KVM was not used', r.preloaded and not r.real_kvm,
                       r.real_kvm or 'nothing is known'))
    print()
    print(f'processor     {r.get("model", "?")}')
    print(f'clock source  {r.get("clocksource", "?")}')
    print(f'busy          {busy} (1/100 s)')
    for text, good, why in checks:
        print(f'{"ok    " if good else "FAILED"}  {text}' + ('' if good else f': {why}'))
    if r.when('init') is not None:
        print(f'Boot took {r.when("init"):.2f} s from starting QEMU to /init.')
    good = all(c[1] for c in checks)
    if not good:
        print(f'The console log is {r.log}, standin\'s is {r.standin_log}.')
    return 0 if good else 1


def main():
    o = options()
    if sys.stdin.isatty():
        return interactive(o)
    return unattended(o)


if __name__ == '__main__':
    sys.exit(vm.main(main))
