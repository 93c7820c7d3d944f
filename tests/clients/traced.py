# SPDX-License-Identifier: MIT
"""standin trace and standin stat on a booting kernel."""
import collections
import functools
import json
import os
import re
import subprocess

import vm
from qemu import LIMIT, fail, tail

EVENTS = 'kvm_*irq*,kvm_*eoi*,kvm_apic*,kvm_inj*,kvm_avic*,kvm_userspace_exit,standin*'
LINE = re.compile(r'^ *\S+-\d+ +\[\d{3}\] \S{5} +\d+\.\d{6}: (\w+): vm \d+')


def check_text(path):
    """Every line in ftrace's layout; how often each event was."""
    count = collections.Counter()
    with open(path) as f:
        for line in f:
            if line.startswith('#'):
                continue
            m = LINE.match(line)
            if not m:
                raise ValueError(f'not a line of a trace: {line.strip()[:100]}')
            count[m.group(1)] += 1
    return count


def check_json(path):
    """Spans nest and end; how many interrupts there were."""
    with open(path) as f:
        events = json.load(f)['traceEvents']
    depth = collections.Counter()
    interrupts = 0
    for e in events:
        if e['ph'] == 'b':
            depth[e['id']] += 1
            interrupts += e['name'].startswith('vCPU')
        elif e['ph'] == 'e':
            depth[e['id']] -= 1
    if any(depth.values()):
        raise ValueError('a span does not end')
    return interrupts


def trace(irqchip):
    name = f'trace-{irqchip}'
    base = os.path.join(vm.WORK, name)
    os.makedirs(vm.WORK, exist_ok=True)
    argv = vm.command(machine='q35', irqchip=irqchip, smp=2, do='info,busy,off', quiet=True)
    run = argv.index('run')
    argv[run:run + 2] = ['trace', '-o', base, '-e', EVENTS, '--']
    r = vm.run(argv, name, timeout=LIMIT)
    if not r.ok:
        return fail(r, r.why())
    try:
        count = check_text(base + '.txt')
        interrupts = check_json(base + '.json')
    except ValueError as e:
        return fail(r, str(e))
    wanted = ['kvm_apic_accept_irq', 'kvm_inj_virq', 'kvm_eoi', 'kvm_apic_ipi', 'kvm_msi_set_irq'
              if irqchip == 'split' else 'kvm_ioapic_set_irq', 'kvm_userspace_exit']
    missing = [e for e in wanted if not count[e]]
    # AVIC takes IPIs on its own.
    if 'kvm_apic_accept_irq' in missing and count['kvm_apicv_accept_irq']:
        missing.remove('kvm_apic_accept_irq')
    if missing:
        return fail(r, f'never seen: {", ".join(missing)}')
    if interrupts < 100:
        return fail(r, f'only {interrupts} interrupts in a whole boot')
    for suffix in ('.txt', '.json'):
        os.unlink(base + suffix)
    return 'ok', f'{interrupts} interrupts', []


def is_qemu(pid):
    try:
        with open(f'/proc/{pid}/comm') as f:
            return f.read().startswith('qemu-system')
    except OSError:
        return False


def stat():
    """Attach to a running QEMU: its VM, why acceleration is off, who did it."""
    name = 'stat'
    seen = {}

    def look(text):
        if 'Run /init' not in text or seen:
            return
        seen['pid'] = next((str(p) for p in vm.children(os.getpid()) if is_qemu(p)), '0')
        seen['out'] = subprocess.run([os.path.join(vm.BUILD, 'standin'), 'stat', '-i', '0.2',
                                      seen['pid']], stdout=subprocess.PIPE, text=True,
                                     stderr=subprocess.STDOUT, check=False).stdout

    argv = vm.command(machine='q35', irqchip='on', smp=2, do='info,busy,off', quiet=False)
    r = vm.run(argv, name, timeout=LIMIT, echo=look)
    if not r.ok:
        return fail(r, r.why())
    out = seen.get('out', '')
    for want in (r'VM 1 of process \d+: 2 vCPUs, full irqchip, EOI broadcast quirked, AVIC for '
                 r'ids up to 4095', r'PIT_REINJ +set \d+ time', r'kvm_inj_virq +\d+'):
        if not re.search(want, out):
            return 'fail', f'standin stat does not say {want!r}', out.splitlines() + tail(r.log)
    return 'ok', '', []


def tests():
    found = [(f'trace-{irqchip}', True, functools.partial(trace, irqchip))
             for irqchip in ('on', 'split')]
    return found + [('stat', True, stat)]
