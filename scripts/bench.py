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

import realwork
import vm

sys.path.insert(0, os.path.join(vm.TOP, 'tests/clients'))
import nested as hypervisor  # noqa: E402

FOLDER = os.path.join(vm.BUILD, 'bench')
PROGRAM = os.path.join(FOLDER, 'bench')
KVMBENCH = os.path.join(FOLDER, 'kvmbench')
SVMBENCH = os.path.join(FOLDER, 'svmbench')
APICBENCH = os.path.join(FOLDER, 'apicbench')
IRQBENCH = os.path.join(FOLDER, 'irqbench')


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


def irqbench(percent, kvm=False):
    """{name: text}: interrupts, seen by a client of /dev/kvm (ours, or the host's)."""
    launcher = [] if kvm else vm.launcher('standin')
    try:
        p = subprocess.run(launcher + [IRQBENCH, str(percent)], stdout=subprocess.PIPE, text=True,
                           timeout=600, check=False)
    except subprocess.TimeoutExpired:
        say('irqbench: no end after 600 s')
        return {}
    if p.returncode:
        say(f'irqbench ended with status {p.returncode}')
    rows = [line.split() for line in p.stdout.splitlines()]
    return {row[0]: (f'{row[1]} / {row[2]} {row[3]}' if len(row) == 4 else ' '.join(row[1:]))
            for row in rows}


def irq_table(ours, kvm):
    """Lines of the tables; kvm is empty unless the host's KVM was asked for."""
    lines = ['', 'Interrupts, seen from outside the guest (latencies: median / 99th percentile):',
             '', '| | active | inhibited |' + (' KVM active | KVM inhibited |' if kvm else ''),
             '|---|---|---|' + ('---|---|' if kvm else '')]
    for name, text in IRQ_TEXT.items():
        cells = [t.get(name + s, '-') for t in ([ours, kvm] if kvm else [ours])
                 for s in ('', '-inhibited')]
        lines.append(f'| {text} | ' + ' | '.join(cells) + ' |')
    lines += ['', '| VMs with many vCPUs | 288 | 1024 |', '|---|---|---|']
    for name, text in MANY_TEXT.items():
        cells = [ours.get(f'{n}-vcpus-{name}', '-') for n in (288, 1024)]
        lines.append(f'| {text} | ' + ' | '.join(cells) + ' |')
    return lines


def bare(program, accel, ram, known, more=()):
    """{name: ns} that a bare-metal program prints under QEMU."""
    argv = vm.launcher(accel) + [
        'qemu-system-x86_64', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
        '-machine', 'pc', '-accel', 'tcg' if accel == 'tcg' else 'kvm', '-cpu', 'max', '-m', ram,
        '-kernel', program, '-serial', 'stdio', '-device', 'isa-debug-exit,iobase=0xf4', *more]
    what = os.path.basename(program)
    try:
        p = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                           timeout=120, check=False)
    except subprocess.TimeoutExpired:
        say(f'{what} on {accel}: no end after 120 s')
        return {}
    rows = [line.split(maxsplit=1) for line in p.stdout.splitlines()]
    for row in rows:
        if row[0] in ('failed', 'exit'):
            say(f'{what} on {accel}: {" ".join(row)}')
    return {row[0]: float(row[1]) for row in rows if row[0] in known}


def svmbench(accel):
    """{name: ns} of nested SVM: a bare-metal hypervisor under QEMU."""
    return bare(SVMBENCH, accel, '1100', SVM_TEXT)


def apicbench(accel):
    """{name: ns} of interrupts. Without lost_tick_policy the PIT inhibits acceleration."""
    known = list(APIC_TEXT) + [n + '.p99' for n in APIC_TEXT] + [n + '.p50' for n in APIC_TEXT]
    more = () if accel == 'tcg' else ('-global', 'kvm-pit.lost_tick_policy=discard')
    return bare(APICBENCH, accel, '256', known, ('-smp', '2', *more))


def apic_table(times):
    """Lines of the table; times[accel] is a list of what apicbench() gave."""
    def get(a, n):
        return middle([t.get(n) for t in times.get(a, [])])

    def cell(a, n):
        v, p50, p99 = get(a, n), get(a, n + '.p50'), get(a, n + '.p99')
        return (f'{v:.1f} ns' if v else f'{p50 / 1000:.2f} / {p99 / 1000:.1f} us'
                if p50 and p99 else '-')
    lines = ['', '| interrupts in the same guest | standin | TCG | TCG / standin |',
             '|---|---|---|---|']
    for n, text in APIC_TEXT.items():
        both = [get(a, n) or get(a, n + '.p50') for a in ('tcg', 'standin')]
        lines.append(f'| {text} | {cell("standin", n)} | {cell("tcg", n)} | {ratio(*both)} |')
    return lines


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


def boot_table(boots):
    """boots: {accel: [(L1, L2) or None]}, seconds from starting QEMU."""
    lines = ['| Debian\'s KVM in L1 (q35) boots the cloud kernel in L2 (microvm) |'
             ' init of L1, s | init of L2, s |', '|---|---|---|']
    last = {}
    for a, found in boots.items():
        l1, l2 = (middle([b[k] for b in found if b]) for k in (0, 1))
        last[a] = l2
        lines.append(f'| {a} | {f"{l1:.2f}" if l1 else "-"} | {f"{l2:.2f}" if l2 else "-"} |')
    lines.append(f'| TCG / standin | | {ratio(last.get("tcg"), last.get("standin"))} |')
    return lines


def only_nested(accels, rounds):
    """Boots L1 and L2 and nothing else: single boots differ by a third on a shared machine."""
    boots = {a: [] for a in accels}
    for k in range(rounds):
        for a in accels:
            found = hypervisor.boot(a)
            boots[a].append(found)
            times = '%.2f s, %.2f s' % found if found else 'failed'
            say(f'round {k + 1} of {rounds}: {a}: {times}')
    return [f'{platform.machine()}, {os.cpu_count()} CPUs, medians of {rounds} interleaved rounds',
            ''] + boot_table(boots)


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
    'kick': 'a signal with a handler ends KVM_RUN',
    'nothing': 'empty loop (one iteration)',
    'cpuid': 'CPUID',
    'eoi': 'LAPIC EOI',
    'syscall': 'SYSCALL + SYSRET',
    'fault': 'page fault, handler, IRET, INVLPG',
    'invlpg': 'INVLPG + one access',
    'ipi': 'self-IPI, handler, EOI, IRET',
}


IRQ_TEXT = {
    'eoi': 'EOI, xAPIC',
    'tpr': 'TPR write, xAPIC',
    'cr8': 'CR8 write',
    'self-ipi': 'self-IPI, handler, EOI, IRET, xAPIC',
    'eoi-x2': 'EOI, x2APIC',
    'tpr-x2': 'TPR write, x2APIC',
    'self-ipi-x2': 'self-IPI, handler, EOI, IRET, x2APIC',
    'ipi': 'IPI to a running vCPU',
    'ipi-round-trip': '... and back',
    'ipi-to-halted': 'IPI to a halted vCPU',
    'ipi-round-trip-halted': '... and back',
    'ipi-to-halted-asleep': 'IPI to a halted vCPU, KVM_CAP_HALT_POLL 0',
    'timer': 'TSC-deadline timer to the handler, running',
    'timer-halted': 'TSC-deadline timer to the handler, halted',
    'timer-halted-asleep': '... KVM_CAP_HALT_POLL 0',
    'irqfd': 'irqfd written by the VMM to the handler, running',
    'irqfd-halted': 'irqfd written by the VMM to the handler, halted',
    'irqfd-halted-asleep': '... KVM_CAP_HALT_POLL 0',
    'irqfd-kernel': 'irqfd written by the kernel to the handler, running',
    'get-regs': 'KVM_GET_REGS',
}

MANY_TEXT = {
    'create': 'KVM_CREATE_VCPU and mmap, each',
    'memory-idle': 'memory, each, before it runs',
    'memory': 'memory, each, running',
    'start': 'until all run',
    'broadcast': 'IPI to all others (halted), until all have handled it',
}

APIC_TEXT = {
    'eoi': 'EOI',
    'tpr': 'TPR write',
    'cr8': 'CR8 write',
    'self-ipi': 'self-IPI, handler, EOI, IRET',
    'ipi': 'IPI to a running vCPU',
    'ipi-round-trip': '... and back',
    'ipi-to-halted': 'IPI to a halted vCPU',
    'ipi-round-trip-halted': '... and back',
    'timer': 'one-shot timer to the handler',
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


def finish(lines, path):
    text = '\n'.join(lines)
    print(text)
    if path:
        with open(path, 'w') as f:
            f.write(text + '\n')


def main():
    p = argparse.ArgumentParser(prog='scripts/bench')
    p.add_argument('--quick', action='store_true', help='one short round, for a first look')
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--no-tcg', action='store_true')
    p.add_argument('--kvm', action='store_true', help='also ask the host\'s real /dev/kvm')
    p.add_argument('--nested', action='store_true', help='only start L1 and L2')
    p.add_argument('--real', nargs='?', const='', metavar='JOB,...', help='only real work: ' + ', '.join(realwork.JOBS))
    p.add_argument('--save', metavar='FILE', help='also write the tables to a file')
    o = p.parse_args()
    rounds = 1 if o.quick else o.rounds
    percent = 20 if o.quick else 100
    accels = [a for a in ('standin', 'tcg') if not (a == 'tcg' and o.no_tcg)]
    if vm.ACCEL == 'tcg':
        accels = ['tcg']
    if o.nested:
        finish(only_nested(accels, rounds), o.save)
        return 0
    if o.real is not None:
        jobs = o.real.split(',') if o.real else None
        finish([line for smp in ((1,) if o.quick else (1, 2))
                for line in realwork.table(rounds, accels, smp, jobs, say)], o.save)
        return 0
    programs = names()

    times = {a: {n: [] for n, _ in programs} for a in ('native', 'standin', 'tcg')}
    boots = {a: [] for a in accels}
    l2_boots = {a: [] for a in accels}
    nested = {a: [] for a in accels}
    irq = {a: [] for a in accels}
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
            l2_boots[a].append(hypervisor.boot(a))
            nested[a].append(svmbench(a))
            irq[a].append(apicbench(a))

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
    lines += [''] + boot_table(l2_boots)
    lines += svm_table(nested)
    lines += apic_table(irq)
    if 'standin' in accels:
        lines += ['', '| the KVM ABI on standin | |', '|---|---|']
        for name, value, unit in kvmbench(percent):
            lines.append(f'| {ABI_TEXT.get(name, name)} | {value} {unit} |')
        ms = startup()
        if ms is not None:
            lines.append(f'| `standin run` adds to the start of a program | {ms:.1f} ms |')
        lines += irq_table(irqbench(percent), irqbench(percent, True) if o.kvm else {})
    finish(lines, o.save)
    return 0 if all(m[a][n] for a in accels for n, _ in programs) else 1


if __name__ == '__main__':
    sys.exit(vm.main(main))
