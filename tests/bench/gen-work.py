#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes what tests/bench/realwork.sh works on into a folder: always the same."""
import os
import random
import sys


def function(i):
    n = i % 7 + 1
    return f'''
struct s{i} {{ int a[{n}]; double d; struct s{i} *next; }};
int f{i}(struct s{i} *s, int n)
{{
\tint r = {i};

\tfor (int k = 0; k < n; k++) {{
\t\tswitch ((s->a[k % {n}] + k) % 5) {{
\t\tcase 0: r += k * {i + 3}; break;
\t\tcase 1: r ^= k << {i % 5}; break;
\t\tcase 2: s->d = s->d * 1.5 + r; break;
\t\tdefault: r -= s->a[0];
\t\t}}
\t}}
\treturn s->next ? r + f{i}(s->next, n - 1) : r;
}}
'''


FILES = {
    'dictionary.py': '''import random
random.seed(1)
d = {}
for i in range(200000):
    k = str(random.random())[:7]
    d[k] = d.get(k, 0) + i
rows = sorted(d.items(), key=lambda x: (x[1], x[0]))
print(len(rows), rows[5], sum(len(k) for k, _ in rows))
''',
    'loopback.py': '''import socket
import threading
server = socket.create_server(('127.0.0.1', 0))
SIZE = 100 << 20
def send():
    with socket.create_connection(server.getsockname()) as s:
        for _ in range(SIZE >> 16):
            s.sendall(bytes(1 << 16))
threading.Thread(target=send).start()
peer, _ = server.accept()
got = 0
while got < SIZE:
    got += len(peer.recv(1 << 16))
''',
    'small.js': '''const m = new Map();
for (let i = 0; i < 300000; i++) m.set('k' + (i * 7919 % 65537), i);
console.log(m.size, [...m.values()].sort((a, b) => a - b)[7], JSON.stringify([...m]).length);
''',
    'Small.java': '''import java.util.*;
public class Small {
\tpublic static void main(String[] args) {
\t\tMap<String, Integer> m = new TreeMap<>();
\t\tfor (int i = 0; i < 20000; i++) m.merge("k" + i * 7919 % 4099, i, Integer::sum);
\t\tSystem.out.println(m.size() + String.join(",", m.keySet()).length());
\t}
}
''',
}


def main():
    folder = sys.argv[1]
    os.makedirs(os.path.join(folder, 'many'), exist_ok=True)
    for name, text in FILES.items():
        with open(os.path.join(folder, name), 'w') as f:
            f.write(text)
    with open(os.path.join(folder, 'big.c'), 'w') as f:
        f.write('#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n')
        f.writelines(function(i) for i in range(105))
    objects = [f'm{i}.o' for i in range(40)]
    for i in range(40):
        with open(os.path.join(folder, 'many', f'm{i}.c'), 'w') as f:
            f.write('#include <stdio.h>\n' + function(i))
    with open(os.path.join(folder, 'many', 'Makefile'), 'w') as f:
        f.write('CFLAGS = -O1\nall.o: ' + ' '.join(objects) + '\n\tld -r -o $@ $^\n')
    r = random.Random(7)
    words = [''.join(r.choices('abcdefghijklmnop', k=r.randint(2, 9))) for _ in range(4000)]
    with open(os.path.join(folder, 'text'), 'w') as f:
        f.write(' '.join(r.choices(words, k=300000)))


main()
