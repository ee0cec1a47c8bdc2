#!/bin/sh
# In a node one is root already: sudo just runs what it is given (as USER with -u).
user=
while :; do
	case $1 in
	-u | --user)
		user=$2
		shift 2
		;;
	-i | -s) shift && set -- "${@:-bash}" ;;
	-*) shift ;;
	*=*) export "$1" && shift ;;
	*) break ;;
	esac
done
if [ $# = 0 ]; then
	echo 'usage: sudo COMMAND…; here one is root already' >&2
	exit 1
fi
[ -z "$user" ] || exec runuser -u "$user" -- "$@"
exec "$@"
