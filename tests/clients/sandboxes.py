# SPDX-License-Identifier: MIT
"""Client tests with sandboxes that run a command in a small virtual machine of libkrun. npm has them, kernel and all."""
import glob
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile

import vm
from machine import Skip, Trouble, verdict
from programs import LIMIT, NOBODY, STANDIN, need, say

PACKAGES = {'@superradcompany/microsandbox-linux-x64-gnu': '0.6.18', '@boxlite-ai/boxlite': '0.10.0'}
# What a guest says of itself: the kernel's name, and that it knows KVM's clock.
WORDS = 'uname -sm; grep -wo kvm-clock /sys/devices/system/clocksource/clocksource0/available_clocksource; id -u'
WANTED = 'Linux x86_64\nkvm-clock\n0\n'


def modules():
    """The packages, fetched once."""
    need('npm')
    top = os.path.join(vm.CACHE, 'npm')
    if not all(os.path.exists(f'{top}/node_modules/{name}/package.json') for name in PACKAGES):
        os.makedirs(top, exist_ok=True)
        r = subprocess.run(['npm', 'install', '--prefix', top, '--no-save', *(f'{n}@{v}' for n, v in PACKAGES.items())],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
        if r.returncode:
            raise Skip('npm: ' + r.stdout.strip().splitlines()[-1])
    return f'{top}/node_modules'


def root(path):
    """A root folder with busybox."""
    busybox = shutil.which('busybox')
    if not busybox:
        raise Skip('busybox is not installed')
    for name in ('bin', 'etc', 'dev', 'proc', 'sys', 'tmp'):
        os.makedirs(f'{path}/{name}')
    shutil.copy(busybox, f'{path}/bin/busybox')
    for name in ('sh', 'uname', 'grep', 'id'):
        os.symlink('busybox', f'{path}/bin/{name}')
    with open(f'{path}/etc/passwd', 'w') as f:
        f.write('root:x:0:0:root:/:/bin/sh\n')


def image(path, top):
    """An OCI layout with that root as its one layer."""
    def blob(data, media):
        digest = hashlib.sha256(data).hexdigest()
        with open(f'{path}/blobs/sha256/{digest}', 'wb') as f:
            f.write(data)
        return {'mediaType': f'application/vnd.oci.image.{media}', 'digest': f'sha256:{digest}', 'size': len(data)}

    os.makedirs(f'{path}/blobs/sha256')
    with tarfile.open(f'{path}/layer', 'w') as tar:
        tar.add(top, arcname='.')
    with open(f'{path}/layer', 'rb') as f:
        layer = blob(f.read(), 'layer.v1.tar')
    os.unlink(f'{path}/layer')
    config = blob(json.dumps({'architecture': 'amd64', 'os': 'linux',
                              'config': {'Env': ['PATH=/bin'], 'Cmd': ['/bin/sh']},
                              'rootfs': {'type': 'layers', 'diff_ids': [layer['digest']]}}).encode(), 'config.v1+json')
    manifest = blob(json.dumps({'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json',
                                'config': config, 'layers': [layer]}).encode(), 'manifest.v1+json')
    manifest['annotations'] = {'org.opencontainers.image.ref.name': 'latest'}
    for name, value in (('oci-layout', {'imageLayoutVersion': '1.0.0'}),
                        ('index.json', {'schemaVersion': 2, 'manifests': [manifest]})):
        with open(f'{path}/{name}', 'w') as f:
            json.dump(value, f)


def in_sandbox(folder, user, *argv):
    """A command on standin, with a home of its own; as an ordinary user if asked for."""
    env = {**os.environ, 'HOME': folder}
    if not user:
        return say(*argv, cwd=folder, env=env)
    need('setpriv')
    if os.geteuid():
        raise Skip('only root can become a user for it')
    # All that it needs must be the user's to read.
    ours = [shutil.copy(p, folder) for p in (STANDIN, *glob.glob(f'{vm.BUILD}/libstandin-preload.so'),
                                             *glob.glob(f'{vm.BUILD}/standin-door'))]
    for top, folders, names in os.walk(folder):
        for name in (*folders, *names):
            os.lchown(os.path.join(top, name), NOBODY, NOBODY)
    os.chown(folder, NOBODY, NOBODY)
    become = ('setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups', '--inh-caps=-all')
    return say(*argv, on=(*become, ours[0], 'run', '--'), cwd=folder, env=env)


def check(status, text):
    if status or WANTED not in text:
        raise Trouble(f'exit status {status}: ' + ' / '.join(text.splitlines()[-8:]))
    return ''


def microsandbox(user):
    """A dynamic program, which has libkrun in it and starts itself again as the VMM."""
    @verdict
    def test(machines):
        package = os.path.join(modules(), '@superradcompany/microsandbox-linux-x64-gnu')
        with tempfile.TemporaryDirectory(prefix='standin-msb.', dir='/tmp') as d:
            root(f'{d}/root')
            shutil.copytree(package, f'{d}/msb')
            return check(*in_sandbox(d, user, f'{d}/msb/bin/msb', 'run', '--cpus', '2', f'{d}/root', '--', '/bin/sh', '-c', WORDS))
    return test


BOX = '''import { SimpleBox } from '@boxlite-ai/boxlite';
const box = new SimpleBox({ rootfsPath: process.argv[2], memoryMib: 512, cpus: 2,
                            security: { jailerEnabled: true, seccompEnabled: true } });
try {
  const r = await box.exec('sh', '-c', process.argv[3]);
  console.log(r.stdout + r.stderr);
} finally {
  await box.stop();
}
'''


def boxlite(user):
    """node starts a static VMM behind bubblewrap: in namespaces of its own, with a seccomp filter of its own."""
    @verdict
    def test(machines):
        need('node')
        packages = modules()
        with tempfile.TemporaryDirectory(prefix='standin-box.', dir='/tmp') as d:
            root(f'{d}/root')
            image(f'{d}/image', f'{d}/root')
            shutil.copytree(packages, f'{d}/node_modules', symlinks=True)
            with open(f'{d}/box.mjs', 'w') as f:
                f.write(BOX)
            verdict_text = check(*in_sandbox(d, user, 'node', f'{d}/box.mjs', f'{d}/image', WORDS))
            logs = ''.join(open(p).read() for p in glob.glob(f'{d}/.boxlite/logs/*'))
            if 'Applying sandbox isolation' not in logs:
                raise Trouble('it did not confine the VMM')
            return verdict_text
    return test


def tests():
    return [(f'{name}{"-user" if user else ""}', False, make(user))
            for name, make in (('microsandbox', microsandbox), ('boxlite', boxlite)) for user in (False, True)]
