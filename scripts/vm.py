# SPDX-License-Identifier: MIT
"""Runs a Debian kernel under QEMU, on standin or on TCG, and reads what the guest reports.

Used by scripts/demo, scripts/bench and tests/clients. The guest is tests/clients/init; its
results are the console lines "@@ key value".
"""
import glob
import hashlib
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get('BUILD', os.path.join(TOP, 'build'))
# Whoever ends us ends our guests too: SystemExit passes through the handlers below.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
CACHE = os.environ.get('STANDIN_CACHE') or os.path.join(
    os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'), 'standin')
WORK = os.path.join(BUILD, 'vm')
# 'standin' runs QEMU with -accel kvm on standin; 'tcg' checks the scripts without it.
ACCEL = os.environ.get('ACCEL', 'standin')
# Seconds between two looks at a guest's console. Guests write it byte by byte: a reader that is woken
# for each takes a twentieth of the CPU time that is being measured.
BATCH = 0.005
MARK = re.compile(r'@@ ([a-z0-9_.-]+) ?(.*)')


def main(function):
    """What function() returns; what stops it is one sentence and not a traceback."""
    me = os.path.basename(sys.argv[0]).removesuffix('.py')
    try:
        return function()
    except subprocess.CalledProcessError as e:   # it has said why
        name = os.path.basename(e.cmd[0])
        print(f'{me}: {name} failed', file=sys.stderr)
    except OSError as e:
        what = f': {e.filename}' if e.filename else ''
        print(f'{me}: {e.strerror or e}{what}', file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


def script(*argv):
    """Output of one of our scripts; its messages go to stderr."""
    return subprocess.run([os.path.join(TOP, 'scripts', argv[0]), *argv[1:]], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


def kernel(flavour):
    return os.path.join(script('kernel', flavour), 'vmlinuz')


def initramfs(flavour, files=(), tag='', modules='', overlay=''):
    """Path of the initramfs for one kernel; built when something it is made of is newer."""
    path = os.path.join(WORK, f'initramfs-{flavour}{tag}.cpio')
    parts = [os.path.join(TOP, 'tests/clients/init'), os.path.join(TOP, 'scripts/initramfs'),
             os.path.join(script('kernel', flavour), 'release'), *files]
    options = ['--modules', modules] if modules else []
    options += ['--overlay', overlay] if overlay else []
    if not os.path.exists(path) or any(os.path.getmtime(p) > os.path.getmtime(path) for p in parts):
        os.makedirs(WORK, exist_ok=True)
        script('initramfs', *options, flavour, path, *files)
    return path


def disk(name, size, fill):
    """A raw disk image of `size` bytes: pseudo-random data when `fill`, else zeros."""
    os.makedirs(WORK, exist_ok=True)
    path = os.path.join(WORK, name)
    with open(path, 'wb') as f:
        if fill:
            block = hashlib.sha512(name.encode()).digest()
            for _ in range(size // 4096):
                block = hashlib.sha512(block).digest()
                f.write(block * 64)
        else:
            f.truncate(size)
    return path


def sha256(path):
    h = hashlib.sha256()
    with open(path, 'rb') as f:
        for piece in iter(lambda: f.read(1 << 20), b''):
            h.update(piece)
    return h.hexdigest()


def accel_args(accel, irqchip):
    if accel == 'tcg':
        return ['-accel', 'tcg,thread=multi']
    return ['-accel', f'kvm,kernel-irqchip={irqchip}']


def launcher(accel):
    """What goes before the VMM's own command line."""
    if accel == 'tcg':
        return []
    return [os.path.join(TOP, 'scripts/hide-kvm'), os.path.join(BUILD, 'standin'), 'run', '--']


def command(machine='microvm', irqchip='on', smp=1, flavour='cloud', accel=ACCEL, do='info',
            disks=(), net=False, url='', memory=512, quiet=True, files=(), tag='', append='',
            cpu='max', extra=(), modules='', overlay=''):
    """The whole command line. machine: microvm or q35."""
    bus = 'device' if machine == 'microvm' else 'pci'
    options = 'acpi=on,rtc=on' if machine == 'microvm' else ''
    # With ACPI, microvm's virtio interrupts are those of a second I/O APIC inside QEMU, which
    # hears of EOIs only in split mode: KVM_EXIT_IOAPIC_EOI does not exist with a full irqchip.
    if machine == 'microvm' and irqchip == 'on' and accel != 'tcg':
        options += ',ioapic2=off'
    line = ['console=ttyS0', 'panic=-1', f'do={do}']
    # microvm has no reset register or keyboard controller: QEMU's documentation names the
    # triple fault as the way to reboot it. Without it the kernel jumps into a warm BIOS.
    line += ['reboot=t'] if machine == 'microvm' else []
    line += ['quiet'] if quiet else ['loglevel=7']
    if url:
        line.append(f'url={url}')
    if append:
        line.append(append)
    argv = launcher(accel) + [
        'qemu-system-x86_64', '-nodefaults', '-no-user-config', '-display', 'none',
        '-machine', machine + (',' + options if options else ''),
        *accel_args(accel, irqchip), '-cpu', cpu, '-smp', str(smp), '-m', str(memory),
        '-kernel', kernel(flavour), '-initrd', initramfs(flavour, files, tag, modules, overlay),
        '-append', ' '.join(line), '-serial', 'stdio']
    for i, path in enumerate(disks):
        argv += ['-drive', f'id=d{i},if=none,format=raw,file={path}',
                 '-device', f'virtio-blk-{bus},drive=d{i}']
    if net:
        argv += ['-netdev', 'user,id=n0', '-device', f'virtio-net-{bus},netdev=n0' +
                 (',romfile=' if bus == 'pci' else '')]
    return argv + list(extra)


class Result:
    """What one run of a guest gave."""

    def __init__(self):
        self.marks = []         # (seconds since start, key, value)
        self.status = None      # exit status of QEMU; negative: signal
        self.timed_out = False
        self.seconds = 0.0
        self.log = ''           # path of the console log
        self.standin_log = ''   # path of standin's own log
        self.real_kvm = ''      # how the real KVM was seen in use, if it was
        self.preloaded = False  # the preload library was mapped in QEMU

    def get(self, key, default=None):
        for _, k, v in self.marks:
            if k == key:
                return v
        return default

    def all(self, key):
        return [v for _, k, v in self.marks if k == key]

    def when(self, key):
        for t, k, _ in self.marks:
            if k == key:
                return t
        return None

    @property
    def ok(self):
        return (not self.timed_out and self.status == 0 and self.get('done') == 'ok'
                and not self.all('error') and not self.real_kvm)

    def why(self):
        """One line that says what went wrong."""
        if self.real_kvm:
            return self.real_kvm
        if self.all('error'):
            return 'guest: ' + '; '.join(self.all('error'))
        last = self.marks[-1][1] if self.marks else 'nothing'
        if self.timed_out:
            return f'timeout after {self.seconds:.0f} s, last report: {last}'
        if self.status:
            return f'QEMU ended with status {self.status}, last report: {last}'
        if self.get('done') != 'ok':
            return f'QEMU ended before the guest was done, last report: {last}'
        return ''


def children(pid):
    """All descendants of a process."""
    found = []
    for path in glob.glob(f'/proc/{pid}/task/*/children'):
        try:
            with open(path) as f:
                for child in f.read().split():
                    found += [int(child)] + children(int(child))
        except OSError:
            pass
    return found


def inspect(pid, result):
    """Looks at the running VMM from outside: did it get the machine's own KVM?"""
    for p in [pid] + children(pid):
        try:
            with open(f'/proc/{p}/comm') as f:
                if not f.read().startswith('qemu-system'):
                    continue
            for fd in os.listdir(f'/proc/{p}/fd'):
                target = os.readlink(f'/proc/{p}/fd/{fd}')
                # The kernel's own VM and vCPU handles are anonymous inodes of these names.
                if target.startswith('anon_inode:kvm-'):
                    result.real_kvm = f'QEMU holds {target}: that is the real KVM'
            with open(f'/proc/{p}/maps') as f:
                if 'libstandin-preload' in f.read():
                    result.preloaded = True
        except OSError:
            pass


def run(argv, name, timeout=120, accel=ACCEL, echo=None, env=None):
    """Runs a command made by command(); never longer than `timeout` seconds."""
    r = Result()
    os.makedirs(WORK, exist_ok=True)
    r.log = os.path.join(WORK, name + '.log')
    r.standin_log = os.path.join(WORK, name + '.standin.log')
    if os.path.exists(r.standin_log):
        os.unlink(r.standin_log)
    environ = dict(os.environ, STANDIN_LOG=os.environ.get('STANDIN_LOG', 'info'),
                   STANDIN_LOG_FILE=r.standin_log, **(env or {}))
    with open(r.log, 'wb') as log:
        log.write(('# ' + shlex.join(argv) + '\n').encode())
        log.flush()
        start = time.monotonic()
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, env=environ, start_new_session=True)
        pending = b''
        inspected = False
        try:
            while True:
                left = start + timeout - time.monotonic()
                if left <= 0:
                    r.timed_out = True
                    break
                if not select.select([p.stdout], [], [], left)[0]:
                    continue
                data = os.read(p.stdout.fileno(), 65536)
                if not data:
                    break
                now = time.monotonic() - start
                log.write(data)
                log.flush()
                pending += data
                *lines, pending = pending.split(b'\n')
                for line in lines:
                    text = line.decode('utf-8', 'replace').rstrip('\r')
                    mark = MARK.search(text)
                    if mark:
                        r.marks.append((now, mark.group(1), mark.group(2).strip()))
                    elif echo:
                        echo(text)
                    if mark and not inspected:
                        inspected = True
                        inspect(p.pid, r)
                time.sleep(BATCH)
        except BaseException:
            os.killpg(p.pid, signal.SIGKILL)
            raise
        if r.timed_out:
            inspect(p.pid, r)
        stop(p)
        r.status = p.wait()
        r.seconds = time.monotonic() - start
    if accel != 'tcg' and r.marks and not r.preloaded and not r.real_kvm:
        r.real_kvm = 'libstandin-preload was not mapped in QEMU'
    return r


def stop(p):
    """Ends a process group that we started: politely, then for sure."""
    for sig, wait in ((0, 3), (signal.SIGTERM, 3), (signal.SIGKILL, 3)):
        try:
            if sig:
                os.killpg(p.pid, sig)
            p.wait(wait)
            return
        except subprocess.TimeoutExpired:
            pass
        except ProcessLookupError:
            return
