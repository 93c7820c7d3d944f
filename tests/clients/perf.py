# SPDX-License-Identifier: MIT
"""Client tests: Debian's perf counts and samples in a guest of Debian's kernel, by the hardware's events.

The program that it looks at is ours (spin.c): how many instructions and branches it executes is known.
"""
import functools
import os
import re
import shutil
import subprocess

import vm
from machine import tail

HERE = os.path.dirname(os.path.abspath(__file__))
ROUNDS = 20000000           # of spin.c: two instructions, one of them a branch
PERIOD = 100000

SCRIPT = f'''
export LD_LIBRARY_PATH=/lib/perf PERF_PAGER=cat HOME=/tmp
cd /tmp
# On a slow guest interrupts take so long that the kernel would skip some.
echo 0 >/proc/sys/kernel/perf_cpu_time_max_percent
dmesg | grep -iE 'PMU|perf' | while read -r line; do echo "@@ kernel $line"; done
stat() {{
	name=$1
	shift
	perf stat -x, -o out "$@" 2>err || {{ echo "@@ error perf stat: $(tail -n 1 err)"; return; }}
	grep -v '^#' out | while IFS=, read -r value unit event rest; do
		[ -z "$event" ] || echo "@@ stat.$name $event $value"
	done
}}
stat user -e instructions:u,branches:u,cycles:u /opt/spin {ROUNDS}
stat all -e cycles,instructions,branches,branch-misses /opt/spin {ROUNDS}
stat caches -e cache-references,cache-misses,stalled-cycles-frontend /opt/spin {ROUNDS}
stat kernel -e instructions:k,instructions:u,instructions dd if=/dev/zero of=/dev/null bs=4096 count=20000
stat host -a -e instructions:G sleep 0.1
stat wide -e instructions:u,instructions:u,instructions:u,branches:u,branches:u,cycles:u /opt/spin {ROUNDS}
for event in instructions:u branches:u; do
	perf record -q -o data -e $event -c {PERIOD} /opt/spin {ROUNDS} 2>err ||
		echo "@@ error perf record: $(tail -n 1 err)"
	echo "@@ samples $event $(perf script -i data -F ip,sym 2>/dev/null | awk '{{ print $2 }}' | sort | uniq -c | sort -rn | head -n 1)"
done
perf record -q -o data -e cycles -F 2000 /opt/spin {ROUNDS} 2>err || echo "@@ error perf record: $(tail -n 1 err)"
echo "@@ samples cycles $(perf script -i data -F ip,sym 2>/dev/null | awk '{{ print $2 }}' | sort | uniq -c | sort -rn | head -n 1)"
grep -E 'NMI|PMI' /proc/interrupts
dmesg | grep -E 'WARNING: CPU|BUG:|Oops|lockup|unexpected|Unknown NMI|Uhhuh' |
	while read -r line; do echo "@@ error kernel: $line"; done
'''


def program():
    """The program that is looked at, static."""
    source, path = os.path.join(HERE, 'spin.c'), os.path.join(vm.WORK, 'spin')
    os.makedirs(vm.WORK, exist_ok=True)
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(source):
        subprocess.run([os.environ.get('CC', 'gcc'), '-O1', '-std=gnu11', '-Wall', '-Wextra', '-Werror', '-static', '-o',
                        path + '.new', source], check=True)
        os.rename(path + '.new', path)
    return path


def perf():
    """perf itself: the wrapper of some suites chooses by the running kernel."""
    for name in ('perf', 'perf_6.1', 'perf_6.12'):
        path = shutil.which(name)
        if path and open(path, 'rb').read(4) == b'\x7fELF':
            return path
    return None


def overlay(path):
    """A folder with perf and its libraries, to be the guest's root."""
    root = os.path.join(vm.WORK, 'perf-root')
    if os.path.exists(os.path.join(root, 'bin/perf')):
        return root
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(os.path.join(root, 'lib/perf'))
    os.makedirs(os.path.join(root, 'lib64'))
    os.makedirs(os.path.join(root, 'bin'))
    said = subprocess.run(['ldd', path], check=True, stdout=subprocess.PIPE, text=True).stdout
    for library in re.findall(r'(/\S+)', said):
        to = 'lib64' if '/ld-linux' in library else 'lib/perf'
        shutil.copy(library, os.path.join(root, to, os.path.basename(library)))
    subprocess.run(['strip', '-o', os.path.join(root, 'bin/perf'), path], check=True)
    return root


def near(value, want, slack):
    return want <= value <= want * (1 + slack)


def judge(r):
    """What is wrong; empty: nothing."""
    stats = {}
    for key in ('user', 'all', 'caches', 'kernel', 'wide'):
        stats[key] = [(line.split()[0], line.split()[1]) for line in r.all('stat.' + key)]
    wrong = [f'{k}: {e} {v}' for k, rows in stats.items() for e, v in rows if not v.isdigit()]
    if wrong:
        return wrong
    user = {e: int(v) for e, v in stats['user']}
    full = {e: int(v) for e, v in stats['all']}
    kernel = {e: int(v) for e, v in stats['kernel']}
    want = 2 * ROUNDS
    checks = {
        'instructions:u': near(user.get('instructions:u', 0), want, 0.02),
        'branches:u': near(user.get('branches:u', 0), ROUNDS, 0.02),
        'cycles:u': user.get('cycles:u', 0) > 0,
        'instructions': near(full.get('instructions', 0), want, 0.5),
        'branches': near(full.get('branches', 0), ROUNDS, 0.5),
        'cycles': full.get('cycles', 0) > 0,
        'kernel and user': near(kernel.get('instructions:k', 0) + kernel.get('instructions:u', 0),
                                kernel.get('instructions', 0) * 0.9, 0.3),
        'six at once': len(stats['wide']) == 6 and all(int(v) for _, v in stats['wide']),
    }
    samples = {line.split()[0]: line.split()[1:] for line in r.all('samples')}
    for event, count in (('instructions:u', want // PERIOD), ('branches:u', ROUNDS // PERIOD), ('cycles', 20)):
        n, _, symbol = ' '.join(samples.get(event, [])).partition(' ')
        checks[f'samples of {event}'] = n.isdigit() and symbol.startswith('rounds') and \
            (int(n) >= count if event == 'cycles' else near(int(n), count * 0.98, 0.04))
    return [f'{what}: {user} {full} {kernel} {samples}' for what, good in checks.items() if not good]


def counts(machine, irqchip, smp, cpu):
    path = perf()
    if not path:
        return 'skip', 'no perf (scripts/deps clients)', []
    name = f'perf-{machine}-{irqchip}-smp{smp}' + (f'-{cpu}' if cpu != 'max' else '')
    text = os.path.join(vm.WORK, name, 'script')
    os.makedirs(os.path.dirname(text), exist_ok=True)
    with open(text, 'w') as f:
        f.write(SCRIPT)
    argv = vm.command(machine=machine, irqchip=irqchip, smp=smp, do='script,off', quiet=False, cpu=cpu,
                      files=(text, program()), tag=f'-{name}', overlay=overlay(path), memory=1024,
                      append='nmi_watchdog=0')
    r = vm.run(argv, name, timeout=180)
    if not r.ok:
        return 'fail', r.why(), tail(r.log) + tail(r.standin_log, 8)
    bad = judge(r)
    if bad:
        return 'fail', bad[0], bad[1:] + tail(r.log, 20)
    return 'ok', '; '.join(r.all('samples')), []


def tests():
    if vm.ACCEL == 'tcg':
        return []
    return [('perf-q35-on-smp2', True, functools.partial(counts, 'q35', 'on', 2, 'max')),
            ('perf-microvm-split-smp1', False, functools.partial(counts, 'microvm', 'split', 1, 'max')),
            # Four counters, no global control.
            ('perf-q35-on-smp1-old', False, functools.partial(counts, 'q35', 'on', 1, 'EPYC-v1'))]
