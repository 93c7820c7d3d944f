# SPDX-License-Identifier: MIT
"""scripts/bench --real: what people run, natively, on standin and on TCG; ratios of medians."""
import math
import os
import statistics
import subprocess

import vm

JOBS = {
    'gcc': 'gcc -O2 of 2,000 lines', 'make': 'make -j of 40 files', 'python3': 'python3, dictionary and sort',
    'xz': 'xz -3', 'sha': 'a pipe of 64 MiB into sha256sum', 'node': 'node, small program',
    'java': 'java, small program', 'xcomp': 'the same with -Xcomp', 'git': 'git add, commit, log',
    'forks': '400 starts of a dynamic program', 'unpack': 'dpkg-deb -x', 'copy': 'cp -r /usr/include',
    'tcp': '100 MiB over TCP loopback', 'rsa': 'openssl, 1,000 signatures (RSA 2048)',
    'aes': 'openssl, 1 GB of AES-256-GCM',
}
HERE = os.path.join(vm.TOP, 'tests/bench/realwork.sh')


def values(lines):
    """{job: seconds} of "@@ rw.JOB SECONDS"."""
    out = {}
    for line in lines:
        words = line.split()
        if len(words) == 3 and words[0] == '@@' and words[1].startswith('rw.'):
            try:
                out[words[1][3:]] = float(words[2])
            except ValueError:
                pass
    return out


def native(root, jobs):
    user = [] if os.geteuid() == 0 else ['--user', '--map-root-user']
    inner = ('mount -t tmpfs t "$0/tmp" && mount -t proc p "$0/proc" && mount --rbind /dev "$0/dev" && '
             'exec chroot "$0" bash /dev/stdin "$@"')
    with open(HERE, 'rb') as f:
        p = subprocess.run(['unshare', '--mount', *user, '--pid', '--fork', 'sh', '-c', inner, root, *jobs],
                           stdin=f, stdout=subprocess.PIPE, text=True, check=False)
    return values(p.stdout.splitlines())


def guest(accel, image, jobs, smp, limit):
    os.makedirs(vm.WORK, exist_ok=True)
    script = os.path.join(vm.WORK, 'script')
    with open(script, 'w') as f:
        f.write('wait_for() { n=0; while [ ! -e "$1" ] && [ $n -lt 100 ]; do n=$((n+1)); usleep 100000; done; }\n'
                'wait_for /dev/vda; mkdir -p /r && mount -t ext4 -o ro /dev/vda /r || echo "@@ error no root"\n'
                'mount -t tmpfs t /r/tmp && mount -t proc p /r/proc && mount -t devtmpfs d /r/dev\n'
                'ip link set lo up\n'
                'cp /opt/realwork.sh /r/tmp/.realwork.sh\n'
                'chroot /r bash /tmp/.realwork.sh ' + ' '.join(jobs) + '\n')
    # Nobody writes to it.
    argv = vm.command(machine='q35', accel=accel, do='script,off', smp=smp, memory=3000, tag='-real',
                      files=(script, HERE), modules='ext4 crc32c_generic crc32c-intel', extra=[
                          '-drive', f'id=root,if=none,format=raw,readonly=on,file={image}',
                          '-device', 'virtio-blk-pci,drive=root'])
    r = vm.run(argv, f'real-{accel}-{smp}', timeout=limit, accel=accel)
    if not r.ok:
        vm.sys.stderr.write(f'== {accel}: {r.why()} (see {r.log})\n')
    for e in r.all('rw.error'):
        vm.sys.stderr.write(f'== {accel}: {e}\n')
    return values([f'@@ {k} {v}' for _, k, v in r.marks])


def geomean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def table(rounds, accels, smp, jobs=None, say=print):
    """Lines of the table."""
    jobs = jobs or list(JOBS)
    root = vm.script('realwork')
    image = os.path.join(os.path.dirname(root), 'image')
    got = {a: {j: [] for j in jobs} for a in ('native', *accels)}
    for k in range(rounds):
        for a in got:
            say(f'round {k + 1} of {rounds}: real work, {a}, {smp} vCPU')
            found = native(root, jobs) if a == 'native' else guest(a, image, jobs, smp, 1800)
            for j, t in found.items():
                got[a][j].append(t)
    mid = {a: {j: statistics.median(v) for j, v in rows.items() if v} for a, rows in got.items()}
    lines = ['', f'Real work, {smp} vCPU{"s" if smp > 1 else ""}, medians of {rounds} interleaved rounds:', '',
             '| | native s | ' + ' | '.join(f'{a} / native' for a in accels) + ' |', '|---|---|' + '---|' * len(accels)]
    ratios = {a: {j: mid[a][j] / mid['native'][j] for j in jobs if j in mid[a] and mid['native'].get(j)}
              for a in accels}
    worst = accels[0]
    for j in sorted(jobs, key=lambda j: -ratios[worst].get(j, 0)):
        cells = [f'{ratios[a][j]:.2f}x' if j in ratios[a] else '-' for a in accels]
        lines.append(f'| {JOBS[j]} | {mid["native"].get(j, 0):.3f} | ' + ' | '.join(cells) + ' |')
    means = [geomean(list(ratios[a].values())) for a in accels]
    lines.append('| geometric mean | | ' + ' | '.join(f'{m:.2f}x' if m else '-' for m in means) + ' |')
    return lines
