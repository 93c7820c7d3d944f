#!/bin/bash
# SPDX-License-Identifier: MIT
# What people run in a guest, with how long it takes: lines "@@ rw.NAME SECONDS". Runs inside the root
# that scripts/realwork makes, natively (chroot) and in a guest alike.
#
#   realwork.sh [JOB...]
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C
cd /tmp || exit 1

job_gcc() { gcc -O2 -c /opt/work/big.c -o big.o; }
job_make() { cp -r /opt/work/many . && make -s -C many -j"$(nproc)"; }
job_python3() { python3 -B /opt/work/dictionary.py; }
job_xz() { xz -3 -c /opt/work/text > text.xz; }
job_sha() { head -c 64M /dev/zero | sha256sum; }
job_node() { node /opt/work/small.js; }
job_java() { java -Xshare:auto -cp /opt/work Small; }
job_xcomp() { java -Xcomp -cp /opt/work Small; }
job_git() {
	local i
	mkdir repo && cd repo && git init -q . || return
	for i in 1 2 3 4 5; do
		cp /opt/work/big.c "f$i.c" && git add . &&
			git -c user.name=a -c user.email=a@b commit -q -m "$i" || return
	done
	git log --stat
}
job_forks() { for _ in {1..400}; do /bin/true; done; }
job_unpack() { dpkg-deb -x /opt/work/package.deb unpacked; }
job_copy() { cp -r /usr/include . && find include -type f | wc -l; }
job_tcp() { python3 -B /opt/work/loopback.py; }
# Rates come as seconds for a fixed number of operations.
rate() { awk -v n="$1" -v rate="$2" 'BEGIN { if (rate > 0) printf "%.4f\n", n / rate }'; }
rate_rsa() {
	rate 1000 "$(openssl speed -seconds 2 rsa2048 2>/dev/null | awk '/^rsa 2048/ { print $6 }')"
}
rate_aes() {
	rate 1000000 "$(openssl speed -seconds 1 -bytes 16384 -evp aes-256-gcm 2>/dev/null |
		awk 'END { sub("k", "", $NF); print $NF }')"
}

# shellcheck disable=SC2048
for name in ${*:-gcc make python3 xz sha node java xcomp git forks unpack copy tcp rsa aes}; do
	rm -rf /tmp/[!.]*
	if [ "$(type -t "rate_$name")" = function ]; then
		seconds=$("rate_$name")
	else
		start=${EPOCHREALTIME/./}
		( "job_$name" ) >/dev/null 2>/tmp/.errors || { echo "@@ rw.error $name: $(tail -n 1 /tmp/.errors)"; continue; }
		us=$((${EPOCHREALTIME/./} - start))
		seconds=$(printf '%d.%06d' $((us / 1000000)) $((us % 1000000)))
	fi
	echo "@@ rw.$name $seconds"
done
