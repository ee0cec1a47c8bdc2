#!/bin/sh
# The lxc commands of lab sheets, in a host of a lab, by what stands for LXD here: the host's own `trenza`.
[ ! -S /var/lib/lxd/unix.socket ] || [ ! -x /usr/bin/lxc ] || exec /usr/bin/lxc "$@"
verb=$1
[ $# = 0 ] || shift
case $verb in
launch) # lxc launch IMAGE NAME
	[ $# = 2 ] || set -- "$1" "${2:?usage: lxc launch IMAGE NAME}"
	echo "the programs of $2 are those of this machine, whatever the image ($1)"
	exec trenza launch "$2"
	;;
list | ls) exec trenza ls ;;
info | start | restart) exec trenza "$verb" "$1" ;;
stop) exec trenza stop "$(for word; do case $word in -*) ;; *) echo "$word" ;; esac; done)" ;;
delete | rm) exec trenza rm "$(for word; do case $word in -*) ;; *) echo "$word" ;; esac; done)" ;;
exec | shell)
	name=$1
	shift
	[ "$1" != -- ] || shift
	[ $# -gt 0 ] || exec trenza sh "$name"
	exec trenza exec "$name" "$@"
	;;
snapshot | publish | image | copy)
	echo "lxc $verb is not needed: a container has the programs of this machine, so that each is launched complete"
	;;
*)
	echo 'usage: lxc launch IMAGE NAME | list | info|start|stop|restart|delete NAME | exec NAME -- COMMAND…' >&2
	exit 2
	;;
esac
