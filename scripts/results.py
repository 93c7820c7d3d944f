# SPDX-License-Identifier: MIT
"""Turns Meson's test log into one TAP line per result.

A test that prints TAP counts as its subtests; any other test counts as one. A program that
failed though all its subtests passed (a crash at the end, a timeout) counts as a failure too.
What a program that failed said follows its results as comments.
"""
import json
import re
import sys

RESULT = re.compile(r'^(ok|not ok)\b(.*)$')
SAID = 40    # lines at most: the last ones say what went wrong


def subtests(text):
    """TAP results in a program's output; empty when there is no plan, i.e. no TAP."""
    lines = text.splitlines()
    if not any(re.match(r'^1\.\.\d+', line) for line in lines):
        return []
    return [m.groups() for m in map(RESULT.match, lines) if m]


def main():
    seen = 0
    with open(sys.argv[1]) as f:
        for line in f:
            test = json.loads(line)
            seen += 1
            name, result = test['name'], test['result']
            found = subtests(test.get('stdout', ''))
            for status, rest in found:
                print(f'{status} {name}:{rest}')
            bad = result in ('FAIL', 'ERROR', 'TIMEOUT', 'INTERRUPT', 'UNEXPECTEDPASS')
            if bad and not any(status == 'not ok' for status, _ in found):
                print(f'not ok {name}: {result}')
            elif not found and not bad:
                print(f'ok {name}' + (' # SKIP' if result == 'SKIP' else ''))
            if bad:
                said = test.get('stdout', '').splitlines() + test.get('stderr', '').splitlines()
                said = [s for s in said if not re.match(r'^(ok\b|1\.\.|TAP )', s)]
                print(*(f'# {s.lstrip("# ")}' for s in said[-SAID:]), sep='\n')
    return 0 if seen else 1


if __name__ == '__main__':
    sys.exit(main())
