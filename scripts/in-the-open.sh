#!/usr/bin/env bash
# in-the-open.sh COMMAND…: root runs it where every user can reach the checkout. If the checkout lies below a directory
# closed to others (/root, a 0700 temporary one), that directory is empty and open in a mount namespace of the command's
# own, and holds nothing but the checkout, under its own path. Anybody else just runs the command.
set -euo pipefail
umask 022
if [ "$(id -u)" != 0 ]; then exec "$@"; fi
here=$(cd "$(dirname "$0")/.." && pwd)
closed=
path=
IFS=/ read -ra parts <<<"${here#/}"
for part in "${parts[@]}"; do
	path=$path/$part
	if (($(stat -c %a "$path") % 2 == 0)); then
		closed=$path
		break
	fi
done
if [ -z "$closed" ]; then exec "$@"; fi
if [ "$closed" = "$here" ]; then
	echo "$here itself is closed to others; 'make setup' opens it" >&2
	exit 3
fi
# shellcheck disable=SC2016
exec unshare --mount --propagation private bash -euc '
	here=$1 closed=$2 cwd=$PWD; shift 2
	mount --bind "$here" /mnt
	mount -t tmpfs -o mode=755 tmpfs "$closed"
	mkdir -p "$here"
	mount --move /mnt "$here"
	cd "$cwd"
	exec "$@"' in-the-open "$here" "$closed" "$@"
