#!/usr/bin/env bash
# The flagship lab from nothing to nothing: three web servers behind two balancers, and what happens when the master's
# switch fails. Short STP timers, so that it takes a minute.
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
# until COMMAND…: tries it until it succeeds, half a minute at most
until_ok() {
	local tries=150
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		if [ $tries = 0 ]; then
			echo "not within half a minute: $*" >&2
			exit 1
		fi
		sleep 0.2
	done
}

name=demo-$$ # beside whatever labs the person has running
trap 'trenza down "$name" >/dev/null 2>&1 || true' EXIT
service=http://172.16.1.254:8000/
fetch() { trenza exec --lab "$name" user -- curl -s -m 2 "$service"; }
serves() { fetch | grep -q "$1"; }

types trenza up balanced-web --profile fast --with garp-refresh --as "$name"
echo
echo "The spanning tree converges, a balancer becomes master, its health checks find the servers …"
for server in serv1 serv2 serv3; do until_ok serves "$server"; done
for _ in 1 2 3; do types trenza exec --lab "$name" user -- curl -s "$service"; done
types trenza show --lab "$name" stp
types trenza outage --lab "$name" --fault "down vswout1" --probe "ping user -> 172.16.1.254" \
	--probe "ping user2 -> 172.16.1.254" --probe "http user -> $service"
echo
echo "Healed: the old master takes over again …"
until_ok serves serv1
types trenza show --lab "$name" faults
types trenza down "$name"
trap - EXIT
