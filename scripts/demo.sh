#!/usr/bin/env bash
# The flagship lab from nothing to nothing: three web servers behind two balancers, and what happens when the master's
# switch fails. Short STP timers, so that it takes two minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

# types COMMAND…: shows it as one would type it, and runs it
types() {
	local word line=
	for word in "$@"; do
		case $word in *[!A-Za-z0-9_.,:/=+-]*) word="\"$word\"" ;; esac
		line+=" $word"
	done
	printf '\n$%s\n' "$line"
	"$@"
}

name=demo-$$ # beside whatever labs the person has running
trap 'trenza down "$name" >/dev/null 2>&1 || true' EXIT
service=http://172.16.1.254:8000/

types trenza up balanced-web --profile fast --with garp-refresh --as "$name"
echo
echo "The spanning tree converges, a balancer becomes master, its health checks find the servers; then what the sheet"
echo "asks to be shown is asked, a cable cut and a balancer and a server ended on the way …"
types trenza check "$name"
for _ in 1 2 3; do types trenza exec --lab "$name" user -- curl -s "$service"; done
types trenza show --lab "$name" stp
types trenza outage --lab "$name" --fault "down vswout1" --probe "ping user -> 172.16.1.254" \
	--probe "ping user2 -> 172.16.1.254" --probe "http user -> $service"
types trenza show --lab "$name" faults
types trenza down "$name"
trap - EXIT
