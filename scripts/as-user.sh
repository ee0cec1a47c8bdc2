#!/usr/bin/env bash
# as-user.sh COMMAND…: runs it as an ordinary user. Root becomes `trenza-test`, made at first use with subordinate ids
# (remove it with `userdel --remove trenza-test`); anybody else is ordinary already.
set -euo pipefail
umask 022
here=$(cd "$(dirname "$0")/.." && pwd)
if [ "$(id -u)" != 0 ]; then exec "$@"; fi
user=trenza-test
PATH=$PATH:/usr/sbin:/sbin

# One at a time: two runs must not both make the user.
exec {lock}>/run/lock/trenza-test.lock
flock "$lock"
id "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$user"
for kind in uid gid; do
	file=/etc/sub$kind
	if ! awk -F: -v user="$user" '$1 == user && $3 >= 65536 { found = 1 } END { exit !found }' "$file" 2>/dev/null; then
		first=$(awk -F: 'BEGIN { free = 100000 } $2 + $3 > free { free = $2 + $3 } END { print free }' "$file" 2>/dev/null ||
			echo 100000)
		usermod "--add-sub${kind}s" "$first-$((first + 65535))" "$user"
	fi
done
exec {lock}>&-

keep=()
for name in TERM LANG CI NO_COLOR COLUMNS; do
	if [ -n "${!name:-}" ]; then keep+=("$name=${!name}"); fi
done
while IFS= read -r pair; do keep+=("$pair"); done < <(env | grep '^TRENZA_' || true)
run=(setpriv --reuid "$user" --regid "$user" --init-groups --
	env -i HOME="$(getent passwd "$user" | cut -d: -f6)" USER=$user LOGNAME=$user SHELL=/bin/bash
	PATH=/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 "${keep[@]}")

exec "$here/scripts/in-the-open.sh" "${run[@]}" "$@"
