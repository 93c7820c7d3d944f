# SPDX-License-Identifier: MIT
# tests/house/rules.py - rules about the sources, as TAP: for the tests that read them.
import sys

failed = False
count = 0


def result(rule, bad):
    """bad: a line for each place that breaks the rule."""
    global failed, count
    bad = list(dict.fromkeys(bad))
    count += 1
    print('not ok' if bad else 'ok', count, '-', rule)
    for line in bad:
        print('#', line)
    failed |= bool(bad)


def finish():
    print(f'1..{count}')
    sys.exit(failed)
