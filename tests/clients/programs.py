# SPDX-License-Identifier: MIT
"""Client tests with programs that start a VMM themselves, and with those that look before."""
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time

import vm
from machine import Skip, Trouble, verdict

STANDIN = os.path.join(vm.BUILD, 'standin')
HIDE = os.path.join(vm.TOP, 'scripts/hide-kvm')
LIMIT = int(os.environ.get('LIMIT', '120'))
NOBODY = 65534


def need(*programs):
    for p in programs:
        if not shutil.which(p, path=os.environ['PATH'] + ':/usr/sbin:/sbin'):
            raise Skip(f'{p} is not installed')
    if vm.ACCEL == 'tcg':
        raise Skip('not on TCG')


def say(*argv, limit=LIMIT, on=(STANDIN, 'run', '--'), **more):
    """Output and exit status of a program on standin."""
    r = subprocess.run([HIDE, *on, *argv], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       timeout=limit, **more)
    return r.returncode, r.stdout


@verdict
def kvm_ok(machines):
    need('kvm-ok')
    # It looks at /dev/kvm by name, which may be there and closed.
    status, text = say('kvm-ok')
    if status or 'can be used' not in text:
        raise Trouble(text.strip())
    return ''


@verdict
def virt_host_validate(machines):
    need('virt-host-validate')
    status, text = say('virt-host-validate', 'qemu')
    # A container may lack /dev/net/tun; that is not about us.
    bad = [line for line in text.splitlines() if 'FAIL' in line and ('kvm' in line or 'virtualization' in line)]
    good = [line for line in text.splitlines() if '/dev/kvm' in line and 'PASS' in line]
    if bad or len(good) != 2:
        raise Trouble('; '.join(bad) or text.strip())
    return ''


@verdict
def getfacl(machines):
    need('getfacl')
    status, text = say('getfacl', '-cp', '/dev/kvm')
    if status or text.split() != ['user::rw-', 'group::rw-', 'other::rw-']:
        raise Trouble(text.strip())
    return ''


DOMAIN = '''<domain type='kvm'>
<name>standin</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{dir}/kernel</kernel>
<initrd>{dir}/initrd</initrd><cmdline>console=ttyS0 panic=-1 do=info,off quiet</cmdline></os>
<features><acpi/><apic/></features>
<cpu mode='host-passthrough' check='none'/>
<devices><emulator>{emulator}</emulator><memballoon model='none'/>
<serial type='file'><source path='{dir}/console'/></serial></devices>
</domain>
'''


def wait_for(path, word, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with open(path, errors='replace') as f:
                text = f.read()
            if word in text:
                return text
        except OSError:
            pass
        time.sleep(0.2)
    return ''


def libvirt(emulator, before):
    """`virsh start` of a KVM domain in a session of its own, as an ordinary user."""
    need('virsh', 'libvirtd', 'setpriv')
    if os.geteuid():
        raise Skip('only root can become a user for it')
    # The paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix='standin-lv.', dir='/tmp') as d:
        env = {**os.environ, 'HOME': d}
        for name in ('RUNTIME_DIR', 'CONFIG_HOME', 'CACHE_HOME', 'DATA_HOME'):
            env['XDG_' + name] = f'{d}/{name.lower()}'
        os.makedirs(f'{d}/runtime_dir', mode=0o700)
        shutil.copy(vm.kernel('cloud'), f'{d}/kernel')
        shutil.copy(vm.initramfs('cloud'), f'{d}/initrd')
        # Everything of ours must be the user's to read, wherever the build folder is.
        for name in ('standin', 'libstandin-preload.so', 'standin-door'):
            if os.path.exists(f'{vm.BUILD}/{name}'):
                shutil.copy(f'{vm.BUILD}/{name}', d)
        os.symlink('standin', f'{d}/standin-qemu')
        with open(f'{d}/domain.xml', 'w') as f:
            f.write(DOMAIN.format(dir=d, emulator=emulator.format(dir=d)))
        for root, dirs, files in os.walk(d):
            for name in (*dirs, *files):
                os.lchown(os.path.join(root, name), NOBODY, NOBODY)
        os.chown(d, NOBODY, NOBODY)
        try:
            r = subprocess.run(
                [HIDE, 'setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups',
                 *[a.format(dir=d) for a in before],
                 'virsh', '-c', 'qemu:///session', f'define {d}/domain.xml; start standin'],
                cwd=d, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, timeout=LIMIT)
            if r.returncode:
                raise Trouble(r.stdout.strip())
            text = wait_for(f'{d}/console', '@@ done ok', LIMIT)
            if not text:
                raise Trouble('the guest did not finish')
            # The machine's own KVM is hidden, and QEMU would not start without any.
            if '@@ clocksource kvm-clock' not in text:
                raise Trouble('the guest does not see KVM')
        finally:
            # The daemon, and a QEMU that it has not seen off before it went.
            for name in glob.glob(f'{d}/runtime_dir/libvirt/**/*.pid', recursive=True):
                try:
                    with open(name) as f:
                        pid = int(f.read())
                    os.kill(pid, signal.SIGTERM)
                except (OSError, ValueError):
                    continue    # it went by itself
                until = time.monotonic() + 10   # nobody may reap it
                while os.path.exists(f'/proc/{pid}') and time.monotonic() < until:
                    time.sleep(0.1)
    return ''


@verdict
def libvirt_emulator(machines):
    return libvirt('{dir}/standin-qemu', [])


@verdict
def libvirt_run(machines):
    return libvirt(shutil.which('qemu-system-x86_64') or '/none', ['{dir}/standin', 'run', '--'])


@verdict
def guestfish(machines):
    """A disk with a file system, made and read by libguestfs's appliance."""
    need('guestfish', 'supermin')
    if not os.path.isdir('/lib/modules'):
        raise Skip('supermin wants a folder /lib/modules')
    folder = os.path.dirname(vm.kernel('generic'))
    with open(os.path.join(folder, 'release')) as f:
        release = f.read().strip()
    with tempfile.TemporaryDirectory(prefix='standin-gf.') as d:
        env = {**os.environ, 'LIBGUESTFS_BACKEND': 'direct', 'LIBGUESTFS_CACHEDIR': d,
               'LIBGUESTFS_DEBUG': '1', 'SUPERMIN_KERNEL': os.path.join(folder, 'vmlinuz'),
               'SUPERMIN_KERNEL_VERSION': release,
               'SUPERMIN_MODULES': os.path.join(folder, 'lib/modules', release)}
        env.pop('LIBGUESTFS_TRACE', None)
        status, text = say('guestfish', '-N', 'fs:ext4:64M', '-m', '/dev/sda1',
                           'write', '/x', 'what was written', ':', 'cat', '/x', cwd=d, env=env)
    lines = text.splitlines()
    if status or not any(line.endswith('what was written') for line in lines):
        raise Trouble(' / '.join(lines[-8:]))
    # The appliance would run on TCG as well.
    if 'kvm-clock: using sched offset' not in text:
        raise Trouble('the appliance did not run on KVM')
    return ''


VMM = os.path.join(vm.TOP, 'tests/clients/vmm')
# How each of our own small VMMs is built; all are static.
OWN = {
    'c-musl': ('musl-gcc', lambda out: ['musl-gcc', '-O1', '-D_GNU_SOURCE', '-idirafter', '/usr/include', '-idirafter',
                                        '/usr/include/x86_64-linux-gnu', '-static', f'{VMM}/vmm.c', '-o', out]),
    'c-glibc': ('cc', lambda out: ['cc', '-O1', '-D_GNU_SOURCE', '-static', f'{VMM}/vmm.c', '-o', out]),
    'go': ('go', lambda out: ['go', 'build', '-o', out, f'{VMM}/vmm.go']),
    'rust': ('rustc', lambda out: ['rustc', '-O', '--edition', '2021', '-C', 'target-feature=+crt-static', '-o', out,
                                   f'{VMM}/vmm.rs']),
}
# They have no ACPI, no PCI and no keyboard.
OWN_COMMAND = 'console=ttyS0 panic=-1 reboot=k acpi=off pci=off i8042.nokbd i8042.noaux quiet do=info,off'


def own(kind):
    """Linux, booted by a program that knows nothing of standin; no loader brings us into it."""
    @verdict
    def boot(machines):
        compiler, command = OWN[kind]
        need(compiler)
        with tempfile.TemporaryDirectory(prefix='standin-own.') as d:
            program = os.path.join(d, 'vmm')
            env = {**os.environ, 'CGO_ENABLED': '0', 'GO111MODULE': 'off', 'GOCACHE': d, 'GOFLAGS': ''}
            r = subprocess.run(command(program), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, timeout=LIMIT, env=env)
            if r.returncode:
                raise Trouble(r.stdout.strip())
            status, text = say(program, vm.kernel('cloud'), vm.initramfs('cloud'), OWN_COMMAND)
        if status or '@@ done ok' not in text:
            raise Trouble(f'exit status {status}: ' + ' / '.join(text.splitlines()[-8:]))
        if '@@ model  standin virtual CPU' not in text:
            raise Trouble('the guest is not on standin')
        return ''
    return boot


@verdict
def sandbox(machines):
    """QEMU confines itself by seccomp filters before the first KVM_RUN, as libvirt has it do; what they forbid kills."""
    if vm.ACCEL == 'tcg':
        raise Skip('not on TCG')
    argv = vm.command(machine='q35', irqchip='split', smp=2, do='info,busy,off', quiet=True)
    argv += ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny']
    modes = set()

    def look(text):
        for pid in vm.children(os.getpid()):
            try:
                for status in glob.glob(f'/proc/{pid}/task/*/status'):
                    with open(status) as f:
                        fields = dict(line.split(':', 1) for line in f if ':' in line)
                    if fields['Name'].strip().startswith(('qemu-system', 'CPU ')):
                        modes.add(fields['Seccomp'].strip())
            except OSError:
                pass

    r = vm.run(argv, 'sandbox', timeout=LIMIT, echo=look)
    if not r.ok:
        raise Trouble(r.why())
    if '2' not in modes:
        raise Trouble(f'QEMU runs without a filter: {modes}')
    return ''


@verdict
def virtme_ng(machines):
    """Debian's kernel with this machine's root: virtme-ng starts virtiofsd, which confines itself, and QEMU."""
    need('vng')
    if not os.path.exists('/usr/libexec/virtiofsd'):
        raise Skip('virtiofsd is not installed')
    words = 'uname -r; cat /proc/mounts /sys/devices/system/clocksource/clocksource0/current_clocksource; echo it-is-done'
    status, text = say('vng', '-r', vm.kernel('cloud'), '--memory', '512M', '--', words, cwd='/', limit=4 * LIMIT)
    for wanted in ('ROOTFS / virtiofs', 'kvm-clock', 'it-is-done'):
        if wanted not in text:
            raise Trouble(f'no "{wanted}": exit status {status}: ' + ' / '.join(text.splitlines()[-8:]))
    return ''


@verdict
def debvm(machines):
    """A Debian made by debvm-create (which needs an archive), started by debvm-run, used at its console."""
    need('debvm-create', 'debvm-run')
    with tempfile.TemporaryDirectory(prefix='standin-debvm.') as d:
        image = os.path.join(d, 'image.ext4')
        r = subprocess.run(['debvm-create', '-r', 'bookworm', '-o', image], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
        if r.returncode:
            raise Skip('debvm-create: ' + r.stdout.strip().splitlines()[-1])
        console = os.path.join(d, 'console')
        with open(console, 'w') as out:
            p = subprocess.Popen([HIDE, STANDIN, 'run', '--', 'debvm-run', '-i', image],
                                 stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, text=True)
            try:
                for prompt, line in (('login:', 'root'), ('~#', 'systemd-detect-virt; poweroff')):
                    if not wait_for(console, prompt, LIMIT):
                        raise Trouble(f'no "{prompt}" on the console')
                    p.stdin.write(line + '\n')
                    p.stdin.flush()
                p.wait(timeout=LIMIT)
            except subprocess.TimeoutExpired:
                raise Trouble('it does not power off')
            finally:
                p.kill()
                p.wait()
        with open(console, errors='replace') as f:
            if '\nkvm' not in f.read().replace('\r', ''):
                raise Trouble('systemd-detect-virt does not say kvm')
    return ''


def tests():
    return [('preflight-kvm-ok', True, kvm_ok),
            ('preflight-virt-host-validate', True, virt_host_validate),
            ('preflight-getfacl', True, getfacl),
            ('libvirt-emulator', True, libvirt_emulator),
            ('libvirt-run', True, libvirt_run),
            ('guestfish-direct', True, guestfish), ('debvm', False, debvm), ('virtme-ng', True, virtme_ng), ('sandbox', True, sandbox),
            *((f'own-{kind}', True, own(kind)) for kind in OWN)]
