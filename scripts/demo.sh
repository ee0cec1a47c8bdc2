#!/usr/bin/env bash
# A lab from nothing to nothing: two hosts on one switch, a container bridged out of each.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

types() {
	printf '\n$ %s\n' "$*"
	"$@"
}

name=demo-$$ # beside whatever labs the person has running
trap 'trenza down "$name" >/dev/null 2>&1 || true' EXIT

types trenza up bridged-lan --as "$name"
types trenza exec --lab "$name" c1 -- ping -c 3 10.0.0.12
types trenza show --lab "$name" fdb lan
types trenza down "$name"
trap - EXIT
