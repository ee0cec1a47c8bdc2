#!/bin/sh
# OpenRC's rc-service NAME ACTION.
if [ $# -lt 2 ]; then
	echo 'usage: rc-service NAME start|stop|restart|status' >&2
	exit 2
fi
if [ ! -x "/etc/init.d/$1" ]; then
	echo " * rc-service: service '$1' does not exist" >&2
	exit 1
fi
exec "/etc/init.d/$1" "$2"
