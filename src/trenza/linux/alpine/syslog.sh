#!/bin/sh
# The node's log, /var/log/messages.
running() { pgrep -f 'busybox syslogd' --ns $$ --nslist pid >/dev/null; }
case $1 in
start | restart)
	if running; then echo ' * syslog is already running'; else
		busybox syslogd -O /var/log/messages && echo ' * Starting syslog ... [ ok ]'
	fi
	;;
status) running && echo ' * status: started' ;;
*)
	echo "usage: $0 start|restart|status" >&2
	exit 2
	;;
esac
