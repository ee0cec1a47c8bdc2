#!/usr/bin/env bash
# Installs what trenza needs: system packages that are missing, and .venv made of the system's Python from uv.lock.
# May be run at any time; when nothing is missing it only looks. Exit 3: this machine lacks something, and it was named.
set -euo pipefail
umask 022 # a root whose umask is 077 would make an environment that only root can run
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin # Debian's ordinary users lack these

lack() {
	printf 'setup: %s\n' "$@" >&2
	exit 3
}

# --- system packages: Debian's package, and the program that shows that it is there
packages="catatonit:catatonit uidmap:newuidmap iproute2:ip bridge-utils:brctl net-tools:ifconfig tcpdump:tcpdump
	traceroute:traceroute iputils-ping:ping iputils-arping:arping iputils-tracepath:tracepath procps:ps psmisc:pstree
	nftables:nft tshark:tshark keepalived:keepalived haproxy:haproxy apache2-bin:apache2 dnsmasq-base:dnsmasq
	busybox:busybox udhcpc:udhcpc slirp4netns:slirp4netns curl:curl nano:nano
	etcd-server:etcd etcd-client:etcdctl"
missing=()
for pair in $packages; do
	type -P "${pair#*:}" >/dev/null || missing+=("${pair%:*}")
done
compgen -G '/usr/lib/apache2/modules/libphp*.so' >/dev/null || missing+=(libapache2-mod-php)

# pyenv's Python and the like often live in a home that nobody else can read: only the system's serves every user.
python=
for candidate in /usr/bin/python3 /usr/bin/python3.1{1,2,3,4,5}; do
	if [ -x "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
		python=$candidate
		break
	fi
done
if [ -z "$python" ]; then
	if [ -x /usr/bin/python3 ]; then lack "/usr/bin/python3 is older than 3.11; install python3.11 or newer below /usr/bin"; fi
	missing+=(python3 python3-venv)
elif [ ! -x .venv/bin/python ] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
	missing+=("$(basename "$(readlink -f "$python")")-venv")
fi

if [ ${#missing[@]} -gt 0 ]; then
	type -P apt-get >/dev/null || lack "these are missing, by their Debian names: ${missing[*]}"
	as_root=()
	if [ "$(id -u)" != 0 ]; then
		if ! type -P sudo >/dev/null || ! sudo -n true 2>/dev/null && ! [ -t 0 ]; then
			lack "these packages are missing, and only root can install them:" "  apt-get install ${missing[*]}"
		fi
		as_root=(sudo)
	fi
	echo "setup: installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	# Daemons are for labs: they shall not start on the machine itself, neither now nor when it boots.
	daemons=()
	for name in keepalived haproxy etcd; do
		type -P "$name" >/dev/null || daemons+=("$name.service")
	done
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin "$policy"
		# shellcheck disable=SC2064
		trap "${as_root[*]} rm -f $policy" EXIT
	fi
	install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends
		"${missing[@]}")
	# A fresh machine has no package lists; one with them needs no update.
	"${install[@]}" </dev/null >/dev/null 2>&1 ||
		{ "${as_root[@]}" apt-get update -qq </dev/null && "${install[@]}" </dev/null >/dev/null; } ||
		lack "apt-get could not install: ${missing[*]}" "  is this machine offline? then: apt-get install ${missing[*]}"
	if [ ${#daemons[@]} -gt 0 ] && type -P systemctl >/dev/null; then
		"${as_root[@]}" systemctl --quiet disable "${daemons[@]}" >/dev/null 2>&1 || true # not where systemd is not
	fi
	[ -n "$python" ] || python=/usr/bin/python3
fi

# --- the environment, keyed to what it was made from
stamp=$(cat uv.lock pyproject.toml scripts/setup.sh | sha256sum | cut -d' ' -f1)
if [ "$(cat .venv/setup-stamp 2>/dev/null)" != "$stamp" ] || ! .venv/bin/python -c '' 2>/dev/null; then
	if [ -e .venv ] && [ ! -w .venv ]; then
		lack "$PWD/.venv is out of date and belongs to $(stat -c %U .venv): 'make setup' once as that user"
	fi
	echo "setup: making .venv"
	uv_version=$(awk '$0 == "name = \"uv\"" { getline; gsub(/"/, "", $3); print $3 }' uv.lock)
	.venv/bin/python -c '' 2>/dev/null || "$python" -m venv --clear .venv
	[ "$(.venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" = "$uv_version" ] ||
		.venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv_version" ||
		lack "pip could not install uv==$uv_version" "  is this machine offline? setup needs PyPI once"
	# Copies, because a file hard-linked into the cache of a careful root keeps that cache's permissions.
	UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=true .venv/bin/uv sync --frozen --quiet ||
		lack "uv could not install what uv.lock names" "  is this machine offline? setup needs PyPI once"
	# Without bytecode every command would take twice as long, and an ordinary user could not write it.
	.venv/bin/python -m compileall -qq -j 2 .venv/lib >/dev/null || true # packages may carry files that do not compile
	if [ "$(id -u)" = 0 ]; then chmod -R a+rX .venv; fi
	echo "$stamp" >.venv/setup-stamp
fi

# The tests drive real kubectls; without them they say so and everything else works.
if [ -w . ]; then scripts/kubectl.sh || echo "setup: going on without the kubectls of the tests" >&2; fi

if [ -w src ]; then .venv/bin/python -m compileall -q src; fi
if [ "$(id -u)" = 0 ]; then # a checkout made under umask 077
	find . -path ./.git -prune -o -path ./.venv -prune -o ! -type l ! -perm -a+r -exec chmod a+rX {} +
fi
