#!/bin/sh
# SPDX-License-Identifier: MIT
# What the translator has made can be seen: STANDIN_DUMP, STANDIN_PERFMAP, ranges of the switches.
#   shown.sh GUEST_TEST      a test program of this folder whose code is at 0x8000
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0 n=0
check() {
	n=$((n + 1))
	if [ "$2" -eq 0 ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; failed=1; fi
}
echo 1..6
STANDIN_DUMP=$work/all "$1" > /dev/null
grep -q '^unit 8000: physical 8000, 64-bit' "$work/all"
check "the first unit is in the dump" $?
grep -A1 -E '^  guest [0-9a-f]+: fld1' "$work/all" | grep -q '^        [0-9a-f]*: '
check "host code stands below each guest instruction" $?
STANDIN_DUMP=$work/some,8080-808f "$1" > /dev/null
[ -s "$work/some" ] && ! grep '^unit' "$work/some" | grep -qv '^unit 808[0-9a-f]:'
check "a range leaves out the rest" $?
STANDIN_UNIT=8080-808f STANDIN_DUMP=$work/narrow "$1" > /dev/null
grep '^unit 80[89]' "$work/narrow" | grep -q ', 1 instructions' &&
	! grep '^unit 8080:' "$work/narrow" | grep -qv ', 1 instructions' &&
	grep '^unit 8000:' "$work/narrow" | grep -qv ', 1 instructions'
check "a switch holds in its range only" $?
STANDIN_UNIT=what STANDIN_DUMP=$work/wide "$1" > /dev/null
! grep '^unit' "$work/wide" | grep -qv ', 1 instructions'
check "a switch with any other value holds everywhere" $?
# The map's name has the number of the process that runs the guest: each test is a process of its own.
STANDIN_PERFMAP=1 sh -c 'echo $$ > "$1/pid"; exec "$2"' sh "$work" "$1" > /dev/null
pid=$(cat "$work/pid") found=1
for i in 1 2 3 4 5 6 7 8; do
	map=/tmp/perf-$((pid + i)).map
	[ -O "$map" ] && grep -qE '^[0-9a-f]+ [0-9a-f]+ guest_(kernel|user)_[0-9a-f]+$' "$map" && found=0
	[ -O "$map" ] && rm -f "$map"
done
check "units have names for perf" $found
exit $failed
