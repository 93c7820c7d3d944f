#!/bin/sh
# SPDX-License-Identifier: MIT
# tests/guest/svm_says_why.sh - a refused VMRUN is explained, in the log and in the trace.
# usage: svm_says_why.sh STANDIN GUEST_SVM_CHECKS; the environment has the preload object
set -u
standin=$(realpath "$1") && checks=$(realpath "$2") || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
bad=0

has() {
	if ! grep -qF -- "$2" "$1"; then
		echo "not ok - nothing says: $2"
		bad=1
	fi
}

STANDIN_LOG=info STANDIN_LOG_FILE=$dir/log "$checks" 'a CPU without' > "$dir/out" || bad=1
has "$dir/log" 'VMRUN refused: EVENTINJ type 3 vector 20 is not an exception this CPU has (APM2 15.20)'
has "$dir/log" 'VMRUN refused: EVENTINJ type 3 vector 2 is not an exception this CPU has (APM2 15.20)'
has "$dir/log" 'VMRUN refused: EVENTINJ type 5 vector 255 has a reserved type (APM2 15.20)'
STANDIN_LOG=info STANDIN_LOG_FILE=$dir/log "$checks" 'PAE without' >> "$dir/out" || bad=1
has "$dir/log" 'a page-directory-pointer entry has reserved bits set'

# The command preloads the object by itself.
unset LD_PRELOAD
"$standin" trace -o "$dir/trace" -e kvm_nested_vmenter_failed -- "$checks" 'a CPU without' \
	> "$dir/out" 2>&1 || bad=1
has "$dir/trace.txt" 'kvm_nested_vmenter_failed'
has "$dir/trace.txt" 'EVENTINJ type 3 vector 20 is not an exception this CPU has (APM2 15.20)'
[ $bad = 0 ] && echo ok || { cat "$dir/out"; head -5 "$dir/log" "$dir/trace.txt"; }
exit $bad
