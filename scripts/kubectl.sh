#!/usr/bin/env bash
# The kubectls that the tests drive, below .cache/kubectl/VERSION/kubectl: Debian's packages, unpacked and not installed.
# May be run at any time; what is there is left alone. With a version as the argument it prints that program's path.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
cache=$PWD/.cache/kubectl

lack() {
	printf 'kubectl.sh: %s\n' "$@" >&2
	exit 3
}

fetch() { # VERSION FILE SHA256
	local program=$cache/$1/kubectl
	[ -x "$program" ] && return
	local work
	mkdir -p "$cache"
	work=$(mktemp -d "$cache/.new.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf '$work'" EXIT
	curl -fsSL --retry 3 --max-time 300 -o "$work/package.deb" "$mirror/pool/main/k/kubernetes/$2" ||
		lack "could not download $2" "  is this machine offline? the tests with kubectl need it once"
	echo "$3  $work/package.deb" | sha256sum --quiet -c - || lack "$2 is not the package that was expected"
	dpkg -x "$work/package.deb" "$work/root"
	mkdir -p "$cache/$1"
	mv "$work/root/usr/bin/kubectl" "$program.new" # beside it first: another run may be reading
	mv "$program.new" "$program"
	rm -rf "$work"
	trap - EXIT
}

if [ "$(dpkg --print-architecture)" != amd64 ]; then lack "only amd64's packages are known here"; fi
# Debian 12's own, and the next release's.
fetch 1.20 'kubernetes-client_1.20.5%2breally1.20.2-1.1%2bdeb12u1_amd64.deb' \
	087c42dc26c847740043cdaa8b16db666be5591a1da957f822922aa1b677494e
fetch 1.32 'kubectl_1.32.3%2bds-2_amd64.deb' 9825aaf4c14913027aae04af8688e580459f781c829bd5de00cc4dc2cc5a867f
if [ $# -gt 0 ]; then echo "$cache/$1/kubectl"; fi
