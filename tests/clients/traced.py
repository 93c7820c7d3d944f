# SPDX-License-Identifier: MIT
"""standin trace and standin stat on a booting kernel; the page of trace in a browser."""
import collections
import functools
import json
import os
import re
import shutil
import subprocess
import tempfile

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


def browse(page):
    """The page's elements once its script is done, by a browser without a network. None: no browser."""
    browser = shutil.which('chromium') or shutil.which('chromium-browser')
    if not browser:
        return None
    with tempfile.TemporaryDirectory(prefix='standin-browser.') as d:
        r = subprocess.run([browser, '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={d}',
                            '--proxy-server=127.0.0.1:9', '--virtual-time-budget=5000', '--dump-dom',
                            'file://' + page], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, text=True, timeout=LIMIT, check=False)
    return r.stdout


def page_data(page):
    with open(page, encoding='utf-8') as f:
        text = f.read()
    links = set(re.findall(r'\b(?:https?|ftp):[^"\'<> ]+', text.split('<script type="application/json"')[0]))
    if links or ' src=' in text or '@import' in text:
        raise ValueError(f'the page needs something else: {links}')
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S).group(1))


def rows(dom, table):
    found = re.search(rf'<table id="{table}"[^>]*>(.*?)</table>', dom, re.S)
    return found.group(1).count('<tr>') - 1 if found else 0


def check_page(page, vcpus):
    """What the browser shows is what the data says. Raises ValueError; the data and what the browser made of it."""
    data = page_data(page)
    dom = browse(page)
    if dom is None:
        raise FileNotFoundError('there is no chromium')
    if 'data-ready="1"' not in dom:
        raise ValueError("the page's script did not come to its end")
    for name, want in (('exit-table', sum(e['vmm'] for e in data['exits'])),
                       ('inside-table', sum(not e['vmm'] for e in data['exits']))):
        if rows(dom, name) != want:
            raise ValueError(f'{name} has {rows(dom, name)} rows instead of {want}')
    guest = re.findall(r'<path d="([^"]*)" fill="var\(--guest\)"', dom)
    if len(guest) != vcpus or not any(guest):
        raise ValueError(f'the timeline shows {len(guest)} vCPUs instead of {vcpus}')
    return data, dom


def html_boot():
    """A boot: its timeline is all of its time, its exits are those that were printed."""
    name, page = 'trace-html', os.path.join(vm.WORK, 'trace-html.html')
    os.makedirs(vm.WORK, exist_ok=True)
    argv = vm.command(machine='q35', irqchip='on', smp=2, do='info,busy,off', quiet=True)
    run = argv.index('run')
    argv[run:run + 2] = ['trace', '-o', os.path.join(vm.WORK, name), '--html', page, '-e', EVENTS + ',kvm_vcpu_wakeup',
                         '--']
    r = vm.run(argv, name, timeout=LIMIT)
    if not r.ok:
        return fail(r, r.why())
    try:
        data, _ = check_page(page, 2)
    except FileNotFoundError as e:
        return 'skip', str(e), []
    except ValueError as e:
        return fail(r, str(e))
    with open(r.log, errors='replace') as f:
        printed = dict(re.findall(r'^(KVM_EXIT_\w+) +(\d+)', f.read(), re.M))
    shown = {e['name']: str(e['count']) for e in data['exits'] if e['name'].startswith('KVM_EXIT_')}
    if shown != printed or not shown:
        return fail(r, f'the page has {shown}, printed was {printed}')
    for t in data['tracks']:
        length = len(t['vmm']) * data['bin']
        if not 0 <= length - data['ns'] <= data['bin'] or any(
                a + b > 1.01 * data['bin'] for a, b in zip(t['vmm'], t['halted'])):
            return fail(r, f'the bins of vCPU {t["vcpu"]} do not fit')
    for suffix in ('.txt', '.json', '.html'):
        os.unlink(os.path.join(vm.WORK, name) + suffix)
    return 'ok', f'{data["records"]} events', []


def html_faults():
    """Guests that end in a shutdown: the page tells, with what came before."""
    page = os.path.join(vm.WORK, 'trace-faults.html')
    program = os.path.join(vm.BUILD, 'tests/guest/guest_fault_report')
    os.makedirs(vm.WORK, exist_ok=True)
    r = subprocess.run([*vm.launcher('standin')[:-2], 'trace', '-o', page[:-5], '--html', page, '--', program],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       timeout=LIMIT, check=False, env={**os.environ, 'STANDIN_LOG': 'info',
                                                        'STANDIN_LOG_FILE': page + '.log'})
    os.unlink(page + '.log')
    if r.returncode:
        return 'fail', f'exit status {r.returncode}', r.stdout.splitlines()[-10:]
    try:
        data = page_data(page)
        _, dom = check_page(page, len(data['tracks']))
    except FileNotFoundError as e:
        return 'skip', str(e), []
    except ValueError as e:
        return 'fail', str(e), []
    ends = [e['what'][4] for e in data['ends']]
    shown = re.findall(r'<div class="bad"><b>([^<]*)</b>', dom)
    if not any('KVM_EXIT_SHUTDOWN' in e for e in ends) or len(shown) != len(ends):
        return 'fail', f'ends: {ends}, shown: {shown}', []
    if not any(e['before'] for e in data['ends']):
        return 'fail', 'nothing is told of what came before', []
    for suffix in ('.txt', '.json', '.html'):
        os.unlink(page[:-5] + suffix)
    return 'ok', f'{len(ends)} ends', []


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
        # Two processes: here the same one, twice.
        seen['json'] = subprocess.run([os.path.join(vm.BUILD, 'standin'), 'stat', '--json', '-i', '0.1',
                                       seen['pid'], seen['pid']], stdout=subprocess.PIPE, text=True,
                                      stderr=subprocess.STDOUT, check=False).stdout

    argv = vm.command(machine='q35', irqchip='on', smp=2, do='info,busy,off', quiet=False)
    r = vm.run(argv, name, timeout=LIMIT, echo=look)
    if not r.ok:
        return fail(r, r.why())
    out = seen.get('out', '')
    for want in (r'VM 1 of process \d+: 2 vCPUs, full irqchip, EOI broadcast quirked, AVIC for '
                 r'ids up to 4095', r'PIT_REINJ +set \d+ time', r'kvm_inj_virq +\d+',
                 r'left: attention wanted +\d+'):
        if not re.search(want, out):
            return 'fail', f'standin stat does not say {want!r}', out.splitlines() + tail(r.log)
    try:
        rows = [json.loads(line) for line in seen['json'].splitlines()]
    except ValueError:
        rows = []
    if len(rows) != 2 or any(seen['pid'] not in str(row) for row in rows):
        return 'fail', 'standin stat --json P1 P2 has no line for each', seen['json'].splitlines()
    return 'ok', '', []


def tests():
    found = [(f'trace-{irqchip}', True, functools.partial(trace, irqchip))
             for irqchip in ('on', 'split')]
    return found + [('trace-html', True, html_boot), ('trace-html-faults', True, html_faults), ('stat', True, stat)]
