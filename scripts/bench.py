# SPDX-License-Identifier: MIT
"""Second half of scripts/bench: runs everything, prints the tables."""
import argparse
import math
import os
import platform
import statistics
import subprocess
import sys
import time

import vm

FOLDER = os.path.join(vm.BUILD, 'bench')
PROGRAM = os.path.join(FOLDER, 'bench')
KVMBENCH = os.path.join(FOLDER, 'kvmbench')
SVMBENCH = os.path.join(FOLDER, 'svmbench')


def say(text):
    print('== ' + text, file=sys.stderr, flush=True)


def names():
    out = subprocess.run([PROGRAM, 'list'], check=True, stdout=subprocess.PIPE, text=True).stdout
    return [tuple(line.split()) for line in out.splitlines()]


def native(programs, percent):
    times = {}
    for name, _ in programs:
        out = subprocess.run([PROGRAM, name, str(percent)], check=True, stdout=subprocess.PIPE,
                             text=True).stdout
        times[name] = float(out.split()[1])
    return times


def guest(accel, programs, percent):
    """(times, seconds to init) of one boot of the cloud kernel on microvm."""
    listing = os.path.join(FOLDER, 'bench.list')
    with open(listing, 'w') as f:
        f.writelines(f'bench {name} {percent}\n' for name, _ in programs)
    argv = vm.command(accel=accel, do='bench,off', smp=1, files=(PROGRAM, listing),
                      tag=f'-bench{percent}', append='rounds=1')
    r = vm.run(argv, f'bench-{accel}', timeout=900, accel=accel)
    if not r.ok:
        say(f'{accel}: {r.why()} (see {r.log})')
    times = {}
    for name, _ in programs:
        value = r.get('bench.' + name)
        if value:
            times[name] = float(value)
    return times, r.when('init')


def boot(accel):
    """Seconds from starting QEMU to the guest's init, with an initramfs of no extra files."""
    r = vm.run(vm.command(accel=accel, do='off', smp=1), f'boot-{accel}', timeout=120, accel=accel)
    return r.when('init') if r.ok else None


def startup():
    """Milliseconds that `standin run` adds to starting a program."""
    run = [os.path.join(vm.BUILD, 'standin'), 'run', '--']
    best = {}
    for what, prefix in (('plain', []), ('standin', run)):
        for _ in range(10):
            t = time.monotonic()
            if subprocess.run(prefix + ['/bin/true'], check=False).returncode:
                return None
            best[what] = min(best.get(what, 9.9), time.monotonic() - t)
    return (best['standin'] - best['plain']) * 1000


def kvmbench(percent):
    """[(name, value, unit)] of the ABI benchmark, best of its own repetitions."""
    p = subprocess.run(vm.launcher('standin') + [KVMBENCH, str(percent)], stdout=subprocess.PIPE,
                       text=True, timeout=300)
    if p.returncode:
        say(f'kvmbench ended with status {p.returncode}')
    rows = [line.split() for line in p.stdout.splitlines()]
    return [(row[0], row[1], row[2] if len(row) > 2 else 'ns') for row in rows]


def svmbench(accel):
    """{name: ns} of nested SVM: a bare-metal hypervisor under QEMU."""
    argv = vm.launcher(accel) + [
        'qemu-system-x86_64', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
        '-machine', 'pc', '-accel', 'tcg' if accel == 'tcg' else 'kvm', '-cpu', 'max', '-m', '1100',
        '-kernel', SVMBENCH, '-serial', 'stdio', '-device', 'isa-debug-exit,iobase=0xf4']
    try:
        p = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                           timeout=120, check=False)
    except subprocess.TimeoutExpired:
        say(f'svmbench on {accel}: no end after 120 s')
        return {}
    rows = [line.split(maxsplit=1) for line in p.stdout.splitlines()]
    for row in rows:
        if row[0] in ('failed', 'exit'):
            say(f'svmbench on {accel}: {" ".join(row)}')
    return {row[0]: float(row[1]) for row in rows if row[0] in SVM_TEXT}


def svm_table(times):
    """Lines of the table; times[accel] is a list of what svmbench() gave."""
    m = {a: {n: middle([t.get(n) for t in times[a]]) for n in SVM_TEXT} for a in times}

    def cell(a, n):
        v = m.get(a, {}).get(n)
        return f'{v:.0f} ns' if v else '-'
    lines = ['', '| nested SVM | standin | TCG | TCG / standin |', '|---|---|---|---|']
    for n, text in SVM_TEXT.items():
        lines.append(f'| {text} | {cell("standin", n)} | {cell("tcg", n)} | '
                     f'{ratio(m.get("tcg", {}).get(n), m.get("standin", {}).get(n))} |')
    for n in ('compute', 'syscall', 'fault'):
        r = [ratio(m.get(a, {}).get('l2.' + n), m.get(a, {}).get('l1.' + n))
             for a in ('standin', 'tcg')]
        lines.append(f'| {n}: L2 / L1 | {r[0]} | {r[1]} | |')
    return lines


def middle(values):
    values = [v for v in values if v]
    return statistics.median(values) if values else None


def ratio(a, b):
    return f'{a / b:8.2f}x' if a and b else '        -'


def geomean(pairs):
    logs = [math.log(a / b) for a, b in pairs if a and b]
    return math.exp(sum(logs) / len(logs)) if logs and len(logs) == len(pairs) else None


ABI_TEXT = {
    'create': 'open to first exit',
    'memory': 'memory of the process grew by',
    'out': 'KVM_RUN round trip: OUT',
    'mmio': 'KVM_RUN round trip: MMIO read',
    'nothing': 'empty loop (one iteration)',
    'cpuid': 'CPUID',
    'eoi': 'LAPIC EOI',
    'syscall': 'SYSCALL + SYSRET',
    'fault': 'page fault, handler, IRET, INVLPG',
    'invlpg': 'INVLPG + one access',
    'ipi': 'self-IPI, handler, EOI, IRET',
}


SVM_TEXT = {
    'vmmcall': 'VMRUN, VMMCALL, #VMEXIT',
    'cpuid': 'VMRUN, CPUID, #VMEXIT',
    'npf': 'nested page fault and VMMCALL: two VMRUNs, one ASID flush',
    'l1.compute': 'memory and integer loop in L1',
    'l2.compute': 'the same in L2',
    'l1.syscall': 'SYSCALL + SYSRET in L1',
    'l2.syscall': 'the same in L2',
    'l1.fault': 'page fault, handler, IRET, INVLPG in L1',
    'l2.fault': 'the same in L2',
}


def main():
    p = argparse.ArgumentParser(prog='scripts/bench')
    p.add_argument('--quick', action='store_true', help='one short round, for a first look')
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--no-tcg', action='store_true')
    p.add_argument('--save', metavar='FILE', help='also write the tables to a file')
    o = p.parse_args()
    rounds = 1 if o.quick else o.rounds
    percent = 20 if o.quick else 100
    programs = names()
    accels = [a for a in ('standin', 'tcg') if not (a == 'tcg' and o.no_tcg)]
    if vm.ACCEL == 'tcg':
        accels = ['tcg']

    times = {a: {n: [] for n, _ in programs} for a in ('native', 'standin', 'tcg')}
    boots = {a: [] for a in accels}
    nested = {a: [] for a in accels}
    for k in range(rounds):
        say(f'round {k + 1} of {rounds}: native')
        for n, t in native(programs, percent).items():
            times['native'][n].append(t)
        for a in accels:
            say(f'round {k + 1} of {rounds}: {a}')
            found, _ = guest(a, programs, percent)
            for n, t in found.items():
                times[a][n].append(t)
            boots[a].append(boot(a))
            nested[a].append(svmbench(a))

    lines = [f'{platform.machine()}, {os.cpu_count()} CPUs, medians of {rounds} interleaved rounds'
             f' at {percent} % work', '',
             '| program | native s | standin / native | TCG / native | TCG / standin |',
             '|---|---|---|---|---|']
    m = {a: {n: middle(v) for n, v in times[a].items()} for a in times}
    for n, _ in programs:
        nat, sta, tcg = m['native'][n], m['standin'][n], m['tcg'][n]
        lines.append(f'| {n:8} | {nat:.3f} | {ratio(sta, nat)} | {ratio(tcg, nat)} |'
                     f' {ratio(tcg, sta)} |')
    compute = [n for n, kind in programs if kind == 'compute']
    g = {}
    for a, b in (('standin', 'native'), ('tcg', 'native'), ('tcg', 'standin')):
        g[a, b] = geomean([(m[a][n], m[b][n]) for n in compute])
    lines.append('| compute programs, geometric mean | | ' +
                 ' | '.join(f'{v:8.2f}x' if v else '-' for v in g.values()) + ' |')
    lines += ['', '| boot of the cloud kernel to init, microvm | seconds |', '|---|---|']
    for a in accels:
        t = middle(boots[a])
        lines.append(f'| {a} | {f"{t:.2f}" if t else "-"} |')
    lines += svm_table(nested)
    if 'standin' in accels:
        lines += ['', '| the KVM ABI on standin | |', '|---|---|']
        for name, value, unit in kvmbench(percent):
            lines.append(f'| {ABI_TEXT.get(name, name)} | {value} {unit} |')
        ms = startup()
        if ms is not None:
            lines.append(f'| `standin run` adds to the start of a program | {ms:.1f} ms |')
    text = '\n'.join(lines)
    print(text)
    if o.save:
        with open(o.save, 'w') as f:
            f.write(text + '\n')
    return 0 if all(m[a][n] for a in accels for n, _ in programs) else 1


if __name__ == '__main__':
    sys.exit(main())
