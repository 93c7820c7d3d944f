# SPDX-License-Identifier: MIT
# Shared by the shell scripts: where things are, how to become root, how to print.
# Sourced, not run.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${BUILD:-$TOP/build}
CACHE=${STANDIN_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/standin}

say() { printf '== %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Runs a command as root: directly, or through sudo.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "need root or sudo for: $*"
	fi
}

# The suites that apt reads, for messages.
apt_suites() {
	local found
	# shellcheck disable=SC2016
	found=$(apt-get indextargets --format '$(RELEASE)' 'Created-By: Packages' 2>/dev/null | sort -u | tr '\n' ' ')
	printf '%s\n' "${found:-no suite at all }"
}

# The concrete package behind the first meta package that apt knows: PATTERN META...; the first
# dependency that matches the pattern.
real_package() {
	local pattern=$1 meta found
	shift
	for meta in "$@"; do
		found=$(apt-cache depends "$meta" 2>/dev/null | sed -n "s/^ *Depends: *\($pattern\)\$/\1/p" | head -n 1)
		[ -n "$found" ] && printf '%s\n' "$found" && return
	done
	return 1
}

# Fetches a package's file without installing it; prints its path. $2 is the folder.
fetch_package() {
	local have deb
	mkdir -p "$2" || return 1
	have=$(find "$2" -maxdepth 1 -name "$1_*.deb" | head -n 1)
	if [ -z "$have" ]; then
		say "fetching $1"
		# apt's sandbox user may not be able to write here; download as ourselves.
		deb=$(mktemp -d "$2/fetch.XXXXXX") || return 1
		if ! (cd "$deb" && apt-get -q -o APT::Sandbox::User=root download "$1" >&2); then
			refresh_lists
			(cd "$deb" && apt-get -q -o APT::Sandbox::User=root download "$1" >&2) ||
				{ rm -rf "$deb"; return 1; }
		fi
		mv "$deb"/*.deb "$2"/ && rmdir "$deb" || return 1
		have=$(find "$2" -maxdepth 1 -name "$1_*.deb" | head -n 1)
	fi
	printf '%s\n' "$have"
}

# Brings apt's lists up to date, once per run of a script.
refresh_lists() {
	[ -n "$LISTS_FRESH" ] && return 0
	say "apt-get update"
	as_root apt-get -q update >&2 && LISTS_FRESH=1
}
