# SPDX-License-Identifier: MIT
"""A QEMU process that a test talks to while it runs: console, QMP, human monitor."""
import functools
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time

import vm

HERE = os.path.dirname(os.path.abspath(__file__))


class Trouble(Exception):
    """A test's expectation that was not met; the text is the verdict."""


@functools.lru_cache(None)
def pulse():
    """Path of the load program (pulse.c), compiled static for the guest."""
    source = os.path.join(HERE, 'pulse.c')
    program = os.path.join(vm.WORK, 'pulse')
    os.makedirs(vm.WORK, exist_ok=True)
    if not os.path.exists(program) or os.path.getmtime(program) < os.path.getmtime(source):
        subprocess.run([os.environ.get('CC', 'gcc'), '-O2', '-std=gnu11', '-D_GNU_SOURCE', '-Wall',
                        '-Wextra', '-Werror', '-static', '-pthread', '-o', program + '.new',
                        source], check=True)
        os.rename(program + '.new', program)
    return program


def qcow2(name, size):
    """An empty qcow2 image (version 2, clusters of 64 KiB, up to 512 MiB)."""
    cluster = 65536
    header = (b'QFI\xfb' + (2).to_bytes(4, 'big') + bytes(8 + 4) + (16).to_bytes(4, 'big') +
              size.to_bytes(8, 'big') + bytes(4) + (1).to_bytes(4, 'big') +
              (3 * cluster).to_bytes(8, 'big') + cluster.to_bytes(8, 'big') +
              (1).to_bytes(4, 'big') + bytes(4 + 8))
    os.makedirs(vm.WORK, exist_ok=True)
    path = os.path.join(vm.WORK, name)
    with open(path, 'wb') as f:
        # Clusters: header, refcount table, refcount block, L1 table; each counted once.
        f.write(header.ljust(cluster, b'\0') + (2 * cluster).to_bytes(8, 'big').ljust(cluster, b'\0')
                + (b'\0\1' * 4).ljust(cluster, b'\0') + bytes(cluster))
    return path


class Machine:
    """Starts a command made by vm.command(); a context manager that leaves no process behind."""

    def __init__(self, argv, name, accel=vm.ACCEL, env=None):
        os.makedirs(vm.WORK, exist_ok=True)
        self.result = vm.Result()
        self.result.log = os.path.join(vm.WORK, name + '.log')
        self.result.standin_log = os.path.join(vm.WORK, name + '.standin.log')
        self.accel = accel
        self.qmp_path = os.path.join(vm.WORK, name[:40] + '.qmp')
        self.events = []
        self.lines = []          # console lines, for messages
        self.sock = None
        self.ended = False
        self.changed = threading.Condition()
        for path in (self.result.standin_log, self.qmp_path):
            if os.path.exists(path):
                os.unlink(path)
        environ = dict(os.environ, STANDIN_LOG=os.environ.get('STANDIN_LOG', 'info'),
                       STANDIN_LOG_FILE=self.result.standin_log, **(env or {}))
        argv = argv + ['-qmp', f'unix:{self.qmp_path},server=on,wait=off']
        self.log = open(self.result.log, 'wb')
        self.log.write(('# ' + shlex.join(argv) + '\n').encode())
        self.log.flush()
        self.start = time.monotonic()
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=environ,
                                        start_new_session=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Console

    def _read(self):
        pending = b''
        while True:
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                break
            self.log.write(data)
            self.log.flush()
            *lines, pending = (pending + data).split(b'\n')
            with self.changed:
                for line in lines:
                    text = line.decode('utf-8', 'replace').rstrip('\r')
                    self.lines.append(text)
                    mark = vm.MARK.search(text)
                    if mark:
                        self.result.marks.append((time.monotonic() - self.start, mark.group(1),
                                                  mark.group(2).strip()))
                if lines:
                    self.changed.notify_all()
            time.sleep(vm.BATCH)
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def count(self, key):
        return len(self.result.all(key))

    def wait(self, key, seconds, more_than=0):
        """Waits for the next report under a key; returns its value."""
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                found = self.result.all(key)
                if len(found) > more_than:
                    return found[more_than]
                if self.result.all('error'):
                    raise Trouble('guest: ' + '; '.join(self.result.all('error')))
                left = end - time.monotonic()
                if self.ended or left <= 0:
                    what = 'QEMU ended' if self.ended else f'nothing for {seconds} s'
                    raise Trouble(f'{what}, waiting for "{key}"; last: {(self.lines or [""])[-1]}')
                self.changed.wait(left)

    def next(self, key, seconds=30):
        """The first report under a key that arrives after this call."""
        return self.wait(key, seconds, self.count(key))

    def send(self, line):
        self.process.stdin.write(line.encode() + b'\n')
        self.process.stdin.flush()

    # QMP

    def _connect(self):
        end = time.monotonic() + 20
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        while True:
            try:
                self.sock.connect(self.qmp_path)
                break
            except OSError:
                if time.monotonic() > end or self.ended:
                    raise Trouble('no QMP socket') from None
                time.sleep(0.02)
        self.file = self.sock.makefile('rb')
        self._message()
        self.qmp('qmp_capabilities')

    def _message(self):
        try:
            line = self.file.readline()
        except OSError as e:
            raise Trouble(f'QMP: {e}') from None
        if not line:
            raise Trouble(f'QMP closed; last: {(self.lines or [""])[-1]}')
        return json.loads(line)

    def qmp(self, execute, **arguments):
        if self.sock is None:
            self._connect()
        # QMP writes names with dashes, Python with underscores.
        request = {'execute': execute, 'arguments': {k.replace('_', '-'): v
                                                     for k, v in arguments.items()}}
        if execute == 'qmp_capabilities':
            request.pop('arguments')
        self.sock.sendall(json.dumps(request).encode() + b'\n')
        while True:
            m = self._message()
            if 'event' in m:
                self.events.append(m)
            elif 'error' in m:
                raise Trouble(f'{execute}: {m["error"]["desc"]}')
            else:
                return m['return']

    def hmp(self, line):
        """A command of the human monitor; what it prints is usually a complaint."""
        return self.qmp('human-monitor-command', **{'command-line': line})

    def state(self):
        return self.qmp('query-status')['status']

    # The end

    def finish(self, seconds=30):
        """Waits for the guest to power the machine off; raises what went wrong."""
        vm.inspect(self.process.pid, self.result)
        self.reader.join(seconds)
        self.result.timed_out = not self.ended
        self.close()
        if not self.result.ok:
            raise Trouble(self.result.why())

    def check(self):
        """To be called while QEMU runs: it must run on standin."""
        if self.accel == 'tcg':
            return
        vm.inspect(self.process.pid, self.result)
        if self.result.real_kvm:
            raise Trouble(self.result.real_kvm)
        if not self.result.preloaded:
            raise Trouble('libstandin-preload was not seen in QEMU')

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def close(self):
        if self.log.closed:
            return
        if not self.ended:
            self.reader.join(0.2)
        if not self.ended:
            self.kill()
        self.result.status = self.process.wait()
        self.reader.join(5)
        self.result.seconds = time.monotonic() - self.start
        self.log.close()
        for f in (self.process.stdin, self.process.stdout, self.sock):
            try:
                if f:
                    f.close()
            except OSError:
                pass
        if os.path.exists(self.qmp_path):
            os.unlink(self.qmp_path)


def tail(path, count=12):
    """The end of a log, as diagnostics."""
    try:
        with open(path, errors='replace') as f:
            lines = [line.rstrip() for line in f]
    except OSError:
        return []
    return [f'{os.path.basename(path)}: {line[:160]}' for line in lines[-count:]]


def verdict(function):
    """Makes a test of a function that takes a list to put its Machines in."""
    @functools.wraps(function)
    def test(*args, **kwargs):
        machines = []
        try:
            return 'ok', function(machines, *args, **kwargs) or '', []
        except Skip as e:
            return 'skip', str(e), []
        except Trouble as e:
            for m in machines:
                m.close()
            notes = []
            for m in machines[-2:]:
                notes += tail(m.result.log) + tail(m.result.standin_log, 6)
            return 'fail', str(e), notes
        finally:
            for m in machines:
                m.close()
    return test


class Skip(Exception):
    """The test cannot be done here; the text says why."""


def keep(source, name):
    """A copy of a file in the work folder: firmware variables, for example."""
    path = os.path.join(vm.WORK, name)
    shutil.copyfile(source, path)
    return path
