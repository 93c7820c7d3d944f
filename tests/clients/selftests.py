# SPDX-License-Identifier: MIT
"""Client tests: the KVM selftests of Debian's linux-source-6.12, unmodified.

selftests.list says what we expect of each: pass, slow, skip (the test itself skips), not-yet or
changed (newer kernels fail it too, at the line given with at=).
Only those marked pass or changed belong to `make check`; --long runs the others too, as information, and the former
once more on every kind of interrupt hardware and with what is off by default (selftest@none-..., and so on).
"""
import functools
import os
import re
import subprocess

import vm

LIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'selftests.list')
SKIP = 4  # kselftest's exit status for "skipped"
SETTINGS = {
    'none': {'STANDIN_AVIC': 'none'},
    'avic': {'STANDIN_AVIC': 'avic'},
    'extended': {'STANDIN_SVM': 'decodeassists,x2avic-ext', 'STANDIN_LA57': '1'},
}


def expectations():
    """[(name, expectation, seconds, arguments, place, reason)] from the list."""
    found = []
    with open(LIST) as f:
        for line in f:
            line = line.strip()
            if not line or line.startswith('#'):
                continue
            fields, _, reason = line.partition(' - ')
            name, expect, *options = fields.split()
            seconds, args, place = 60, [], None
            for option in options:
                if option.startswith('timeout='):
                    seconds = int(option[8:])
                elif option.startswith('args='):
                    args = option[5:].split(',')
                elif option.startswith('at='):
                    place = option[3:]
            found.append((name, expect, seconds, args, place, reason.strip()))
    return found


@functools.lru_cache(None)
def folder():
    """Where the programs are; None: this suite has no source of that kernel."""
    try:
        return vm.script('selftests-build')
    except subprocess.CalledProcessError as e:
        if e.returncode == 77:
            return None
        raise


def one(name, expect, seconds, args, place, setting=''):
    if not folder():
        return 'skip', 'apt has no linux-source-6.12', []
    log = os.path.join(vm.WORK, f'selftest-{setting}{name.replace("/", "-")}.log')
    os.makedirs(vm.WORK, exist_ok=True)
    argv = vm.launcher('standin') + [os.path.join(folder(), name), *args]
    env = dict(os.environ, STANDIN_LOG='info', STANDIN_LOG_FILE=log + '.standin', **SETTINGS.get(setting, {}))
    if os.path.exists(log + '.standin'):
        os.unlink(log + '.standin')
    with open(log, 'wb') as f:
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT,
                             env=env, start_new_session=True)
        try:
            status = p.wait(seconds)
        except subprocess.TimeoutExpired:
            vm.stop(p)
            status = 'timeout'
    with open(log, errors='replace') as f:
        last = [line.strip()[:160] for line in f][-14:]
    if status == 0:
        if expect not in ('pass', 'slow'):
            return 'ok', 'passes now: change selftests.list', []
        return 'ok', '', []
    text = f'no end within {seconds} s' if status == 'timeout' else f'exit status {status}'
    if status == SKIP and expect == 'skip':
        return 'skip', last[-1] if last else 'the test skips itself', []
    if expect == 'changed' and re.search(re.escape(place) + r'(?!\d)', '\n'.join(last)):
        return 'ok', '', []
    if expect == 'not-yet':
        return 'skip', f'not yet: {text}', []
    return 'fail', text, last


def tests():
    if vm.ACCEL == 'tcg':
        return []
    found = []
    for name, expect, seconds, args, place, _ in expectations():
        found.append((f'selftest-{name.replace("x86_64/", "")}',
                      expect in ('pass', 'changed'),
                      functools.partial(one, name, expect, seconds, args, place)))
    for setting in SETTINGS:
        for name, expect, seconds, args, place, _ in expectations():
            if expect in ('pass', 'changed'):
                found.append((f'selftest@{setting}-{name.replace("x86_64/", "")}', False,
                              functools.partial(one, name, expect, seconds, args, place, setting)))
    return found
