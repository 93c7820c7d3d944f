# SPDX-License-Identifier: MIT
"""Client tests: QEMU's gdbstub on a running kernel, spoken to in gdb's remote protocol."""
import functools
import os
import re
import socket
import subprocess
import time

import machine as m
import vm

RIP = 16            # number of the register in gdb's x86-64 layout
SCRIPT = '''
cd /tmp
for s in __x64_sys_sethostname init_uts_ns; do
	echo "@@ sym.$s $(grep -m1 " $s\\$" /proc/kallsyms | cut -d' ' -f1)"
done
hostname standin-first
echo "@@ go"
n=0
while [ ! -e /tmp/stop ] && [ $n -lt 100000 ]; do
	n=$((n + 1))
	hostname host-$n
	[ "$(hostname)" = host-$n ] || echo "@@ error the name is $(hostname) instead of host-$n"
	[ $((n % 10)) = 0 ] && echo "@@ names $n"
	read -t 0 line && break
done
echo "@@ last $n"
'''


class Stub:
    """A connection to a gdbstub."""

    def __init__(self, path):
        end = time.monotonic() + 20
        while True:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(60)
            try:
                self.sock.connect(path)
                break
            except OSError:
                if time.monotonic() > end:
                    raise m.Trouble('no gdbstub') from None
                time.sleep(0.05)
        self.buffer = b''

    def close(self):
        self.sock.close()

    def drain(self):
        """Forgets what has arrived unasked: connecting stops the machine, and it says so."""
        self.sock.settimeout(0.3)
        try:
            while self.sock.recv(65536):
                self.sock.sendall(b'+')
        except TimeoutError:
            pass
        self.sock.settimeout(60)
        self.buffer = b''

    def _byte(self):
        if not self.buffer:
            try:
                self.buffer = self.sock.recv(65536)
            except OSError as e:
                raise m.Trouble(f'gdbstub: {e}') from None
            if not self.buffer:
                raise m.Trouble('the gdbstub closed the connection')
        byte, self.buffer = self.buffer[:1], self.buffer[1:]
        return byte

    def answer(self):
        while self._byte() != b'$':
            pass
        text = b''
        while True:
            byte = self._byte()
            if byte == b'#':
                break
            text += byte
        given = int(self._byte() + self._byte(), 16)
        if given != sum(text) & 255:
            raise m.Trouble('gdbstub: wrong checksum')
        self.sock.sendall(b'+')
        # "c*N" stands for N - 28 repetitions of c.
        return re.sub(rb'(.)\*(.)', lambda r: r[1] * (r[2][0] - 28), text, flags=re.S).decode()

    def send(self, text):
        data = text.encode()
        self.sock.sendall(b'$%s#%02x' % (data, sum(data) & 255))

    def ask(self, text):
        self.send(text)
        return self.answer()

    def expect(self, text, want='OK'):
        answer = self.ask(text)
        if answer != want:
            raise m.Trouble(f'gdbstub: "{answer}" to {text} instead of "{want}"')

    def interrupt(self):
        self.sock.sendall(b'\x03')
        return self.answer()

    def rip(self):
        registers = bytes.fromhex(self.ask('g').replace('x', '0'))
        return int.from_bytes(registers[RIP * 8:RIP * 8 + 8], 'little')

    def memory(self, address, size):
        answer = self.ask(f'm{address:x},{size:x}')
        if answer.startswith('E'):
            raise m.Trouble(f'gdbstub cannot read {address:#x}: {answer}')
        return bytes.fromhex(answer)

    def go(self, what='c'):
        """Continues (c) or steps (s) until the next stop; returns its description."""
        answer = self.ask(what)
        if answer[:3] not in ('T05', 'S05'):
            raise m.Trouble(f'gdbstub: stopped with "{answer}"')
        return answer


def lengths(code, address):
    """{address: (length, mnemonic)} of the instructions, from objdump."""
    path = os.path.join(vm.WORK, f'gdb-{os.getpid()}.bin')
    with open(path, 'wb') as f:
        f.write(code)
    text = subprocess.run(['objdump', '-D', '-w', '-b', 'binary', '-m', 'i386:x86-64',
                           f'--adjust-vma={address:#x}', path], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    os.unlink(path)
    found = {}
    for line in text.splitlines():
        r = re.match(r'\s*([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*\t(.*)', line)
        if r:
            found[int(r[1], 16)] = len(r[2].split()), r[3]
    return found


BRANCH = re.compile(r'(?:(?:bnd|notrack|cs|ds|rep|repz|repnz) )*(j|call|ret|loop|iret|sys|int|rep)')


def steps(stub, count):
    """Single-steps; wherever an instruction is no branch, the next one must be right behind it."""
    rip, code, checked = stub.rip(), {}, 0
    for _ in range(count):
        if rip not in code:
            code = lengths(stub.memory(rip, 200), rip)
        size, text = code[rip]
        stub.go('s')
        now = stub.rip()
        if not BRANCH.match(text):
            checked += 1
            if now != rip + size:
                raise m.Trouble(f'step from {rip:#x} ({text}) led to {now:#x}')
        rip = now
    return checked


def hit(stub, want):
    stub.go()
    rip = stub.rip()
    if rip != want:
        raise m.Trouble(f'stopped at {rip:#x} instead of {want:#x}')


@m.verdict
def debug(machines, irqchip, smp):
    name = f'gdbstub-{irqchip}-smp{smp}'
    script = os.path.join(vm.WORK, 'script')
    os.makedirs(vm.WORK, exist_ok=True)
    with open(script, 'w') as f:
        f.write(SCRIPT)
    path = os.path.join(vm.WORK, name + '.gdb')
    argv = vm.command(machine='q35', irqchip=irqchip, smp=smp, do='script,off', memory=256,
                      files=(script,), tag='-gdb', append='nokaslr', quiet=False,
                      extra=['-gdb', f'unix:{path},server=on,wait=off'])
    guest = m.Machine(argv, name)
    machines.append(guest)
    guest.wait('go', 60)
    guest.check()
    function = int(guest.result.get('sym.__x64_sys_sethostname'), 16)
    names = int(guest.result.get('sym.init_uts_ns'), 16)
    guest.next('names')

    stub = Stub(path)                # connecting stops the machine
    stub.drain()
    stub.ask('?')
    if guest.state() not in ('paused', 'debug'):
        raise m.Trouble(f'state {guest.state()} with a debugger attached')

    for kind, text in (('0', 'software'), ('1', 'hardware')):
        # As gdb does: a breakpoint is taken out before it is stepped over.
        for _ in range(3):
            stub.expect(f'Z{kind},{function:x},1')
            hit(stub, function)
            stub.expect(f'z{kind},{function:x},1')
            checked = steps(stub, 40)
            if checked < 20:
                raise m.Trouble(f'only {checked} steps behind the {text} breakpoint were checked')

    # The system call's argument is written to the name in init_uts_ns: the write is seen after it
    # has happened, a read (uname) too.
    block = stub.memory(names, 512)
    where = block.find(b'host-')
    if where < 0:
        raise m.Trouble('the name is not in init_uts_ns')
    address = names + where
    for kind, text in (('2', 'watch'), ('4', 'awatch')):
        stub.expect(f'Z{kind},{address:x},1')
        stop = stub.go()
        if f'{text}:{address:x}' not in stop.replace(f'{text}:' + '0' * (16 - len(f'{address:x}')),
                                                   f'{text}:'):
            raise m.Trouble(f'{text}point: stopped with "{stop}"')
        if stub.memory(address, 5) != b'host-':
            raise m.Trouble('the watched write has not happened')
        stub.expect(f'z{kind},{address:x},1')

    # Nothing stops the machine any more.
    stub.send('c')
    guest.next('names')
    guest.next('names')
    stub.interrupt()
    if guest.state() not in ('paused', 'debug'):
        raise m.Trouble(f'state {guest.state()} after an interruption')
    stub.expect('D')
    stub.close()
    guest.next('names')
    guest.send('')
    guest.wait('last', 30)
    guest.finish()


def tests():
    return [('gdbstub-on-smp1', True, functools.partial(debug, 'on', 1)),
            ('gdbstub-split-smp2', True, functools.partial(debug, 'split', 2))]
