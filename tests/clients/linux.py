# SPDX-License-Identifier: MIT
"""Client tests: Linux's own selftests of the processor, of breakpoints and of clocks, in a guest and on the host.

The programs are those of Debian's linux-source-6.12, unmodified, static (scripts/selftests-build linux);
linux.list says what each gives in a guest. One guest runs them all: starting one costs more than most.
"""
import functools
import os
import re
import subprocess
import threading

import vm
from machine import tail

LIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'linux.list')
# What programs print for a check that is met, and for one that is not: kselftest's TAP, and its older form.
# The guest's grep takes the same.
MET = r'^ok [0-9]+|\[OK\]'
FAILED = r'^not ok |\[FAIL\]'
SKIPPED = r'# SKIP|\[SKIP\]'
# A kernel that says one of these while its own tests run has met something that no CPU does.
COMPLAINTS = 'WARNING: CPU|BUG:|Oops|soft lockup|nobody cared'


class Row:
    def __init__(self, line):
        fields, _, self.why = line.partition(' - ')
        self.name, status, *options = fields.split()
        self.status = int(status)
        self.met = self.args = None
        self.timeout, self.words = 30, set()
        for option in options:
            key, _, value = option.partition('=')
            if key == 'ok':
                self.met = int(value)
            elif key == 'args':
                self.args = value.split(',')
            elif key == 'timeout':
                self.timeout = int(value)
            else:
                self.words.add(option)

    def folder(self):
        return os.path.dirname(self.name)

    def command(self):
        return [f'./{os.path.basename(self.name)}', *(self.args or [])]


@functools.lru_cache(None)
def rows():
    with open(LIST) as f:
        return [Row(line) for line in map(str.strip, f) if line and not line.startswith('#')]


@functools.lru_cache(None)
def folder():
    """Where the programs are; None: this suite has no source of that kernel."""
    try:
        return vm.script('selftests-build', 'linux')
    except subprocess.CalledProcessError as e:
        if e.returncode == 77:
            return None
        raise


def there(row):
    return os.access(os.path.join(folder(), row.name), os.X_OK)


def overlay(some):
    """A folder with the programs, without what debuggers want of them, to lie at /st in the guest."""
    root = os.path.join(vm.WORK, 'linux-selftests')
    for row in some:
        source, target = os.path.join(folder(), row.name), os.path.join(root, 'st', row.name)
        if os.path.exists(target) and os.path.getmtime(target) >= os.path.getmtime(source):
            continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        subprocess.run(['strip', '-o', target, source], check=True)
        os.utime(target)
    return root


def count(pattern, text):
    return sum(bool(re.search(pattern, line)) and not re.search(SKIPPED, line) for line in text)


@functools.lru_cache(None)
def natively(name):
    """(status, checks met, checks not met) of a program on this host, without us."""
    row = next(r for r in rows() if r.name == name)
    log = os.path.join(vm.WORK, 'linux-' + name.replace('/', '-') + '.native.log')
    # Some hosts make a program go round and print for ever.
    limit = min(row.timeout, 15)
    with open(log, 'wb') as f:
        p = subprocess.Popen(['sh', '-c', 'ulimit -f 2000; exec "$@"', 'sh', *row.command()], cwd=os.path.join(folder(), row.folder()),
                             stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT,
                             start_new_session=True)
        try:
            status = p.wait(limit)
        except subprocess.TimeoutExpired:
            vm.stop(p)
            status = 137
    with open(log, errors='replace') as f:
        text = f.read().splitlines()
    return status, count(MET, text), count(FAILED, text)


def is_native(row, long):
    """Clocks are not measured while a guest runs, and not set."""
    return not long and 'guest-only' not in row.words


def script(some, reboot):
    """What the guest does: each program, one line about it, and what it said if that is not as listed."""
    lines = [f'''cd /st
said() {{ grep -E "$1" $out | grep -cvE '{SKIPPED}'; }}
one() {{
	out=/tmp/$(echo $1 | tr / -)
	want=$2 limit=$3 name=$1
	shift 3
	(cd "${{name%/*}}" && timeout -s KILL $limit "./${{name##*/}}" "$@") >$out 2>&1 </dev/null
	status=$?
	echo "@@ selftest $name $status $(said '{MET}') $(said '{FAILED}')"
	grep -aE '{FAILED}' $out | head -n 5
	[ $status = $want ] || tail -n 8 $out
}}''']
    # Those that only wait run beside the others, or beside each other behind them.
    for stage in ('first', '', 'together', 'last'):
        for row in some:
            own = [s for s in ('first', 'together', 'last') if s in row.words] or ['']
            if own[0] != stage:
                continue
            args = ' '.join(row.args or [])
            line = f'one {row.name} {row.status} {row.timeout} {args}'
            lines.append(f'({line}) &' if 'together' in row.words else line)
        if stage == 'together':
            lines.append('wait')
    lines.append(f'dmesg | grep -E "{COMPLAINTS}" | while read -r line; do echo "@@ error kernel: $line"; done')
    # A board that has been suspended is not switched off by QEMU 7.2, with no accelerator.
    if reboot:
        lines.append('echo "@@ done ok"; reboot -f')
    return '\n'.join(lines) + '\n'


def judge(row, found, native):
    """What is wrong with a result; empty: nothing."""
    if not found:
        return 'it did not run'
    status, met, failed = found
    if status != row.status:
        return f'exit status {status} instead of {row.status}'
    if failed:
        return f'{failed} checks are not met'
    if row.met is not None and met != row.met:
        return f'{met} checks are met instead of {row.met}'
    if native and native[0] == 0 and row.status and 'native=any' not in row.words:
        return 'it passes natively'
    return ''


def selftests(machine, irqchip, long):
    if not folder():
        return 'skip', 'apt has no linux-source-6.12', []
    name = f'linux-selftests-{machine}-{irqchip}' + ('-long' if long else '')
    some = [r for r in rows() if ('long' in r.words) == long and ('suspend' not in r.words or machine == 'q35')]
    missing = [r.name for r in some if not there(r)]
    if any(not n.endswith('_32') for n in missing):
        return 'fail', f'not built: {" ".join(missing)}', []
    some = [r for r in some if r.name not in missing]
    os.makedirs(vm.WORK, exist_ok=True)
    text = os.path.join(vm.WORK, name, 'script')
    os.makedirs(os.path.dirname(text), exist_ok=True)
    with open(text, 'w') as f:
        f.write(script(some, machine == 'q35'))
    # One page that Linux has for old programs; Debian's default is none, and the host may have it.
    argv = vm.command(machine=machine, irqchip=irqchip, smp=2, do='script,off', quiet=False, files=(text,),
                      tag=f'-{name}', overlay=overlay([row for row in rows() if there(row)]), append='vsyscall=xonly', extra=['-no-reboot'])
    here = threading.Thread(target=lambda: [natively(row.name) for row in some if is_native(row, long)])
    here.start()
    try:
        r = vm.run(argv, name, timeout=1200 if long else 120)
    finally:
        here.join()
    if not r.ok:
        return 'fail', r.why(), tail(r.log) + tail(r.standin_log, 8)
    found = {}
    for line in r.all('selftest'):
        which, *numbers = line.split()
        found[which] = tuple(map(int, numbers))
    bad, better, met = [], 0, 0
    for row in some:
        native = natively(row.name) if is_native(row, long) else None
        why = judge(row, found.get(row.name), native)
        if why:
            bad.append(f'{row.name}: {why}; natively {native}')
        met += found.get(row.name, (0, 0))[1]
        better += bool(native and native[0] and not row.status)
    if bad:
        return 'fail', f'{len(bad)} of {len(some)} programs', bad + tail(r.log, 8)
    said = f'{len(some)} programs, {met} checks' + (f', {better} fail natively' if better else '')
    return 'ok', said + (f', {len(missing)} not built (no 32-bit compiler)' if missing else ''), []


def tests():
    found = []
    for machine, irqchip in (('microvm', 'split'), ('q35', 'on')):
        for long in (False, True):
            found.append((f'linux-selftests-{machine}-{irqchip}' + ('-long' if long else ''), not long,
                          functools.partial(selftests, machine, irqchip, long)))
    return found
