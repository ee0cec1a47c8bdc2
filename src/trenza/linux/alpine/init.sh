#!/bin/sh
# Starts and stops a daemon, as OpenRC's scripts do on Alpine. This one serves keepalived, haproxy and apache2: the
# name it is called by says which. Only processes of this very node count, not those of its containers.
name=${0##*/}
case $name in
keepalived)
	program=keepalived config=/etc/keepalived/keepalived.conf
	check() { keepalived --config-test -f "$config"; }
	launch() { keepalived --vrrp --log-detail -f "$config"; }
	;;
haproxy)
	program=haproxy config=/etc/haproxy/haproxy.cfg
	check() { haproxy -c -q -f "$config"; }
	launch() {
		haproxy -W -D -S /run/haproxy-master.sock -p /run/haproxy.pid -f "$config" >/var/log/haproxy.log 2>&1
	}
	;;
apache2)
	program=apache2 config=/etc/apache2/httpd.conf
	check() { said=$(apache2 -t -f "$config" 2>&1) || { echo "$said" >&2 && false; }; }
	launch() { apache2 -k start -f "$config"; }
	;;
*)
	echo "$name: not known here" >&2
	exit 1
	;;
esac

pids() { pgrep -x "$program" --ns $$ --nslist pid; }
# Those that trenza itself started, and starts again when they die, say so in their environment.
kept() {
	for pid in $(pids); do
		tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -q '^TRENZA_SERVICE=' && echo "$pid"
	done
}
# await CONDITION: until it holds, five seconds at most
await() {
	tries=100
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.05
	done
}
gone() { [ -z "$(pids)" ]; }
there() { [ -n "$(pids)" ]; }
new() {
	now=$(kept | head -n 1)
	[ -n "$now" ] && [ "$now" != "$old" ]
}
logging() { [ -S /run/log.socket ]; }
# outcome VERB COMMAND…: says what is done and whether it was
outcome() {
	printf ' * %s %s ...' "$1" "$name"
	shift
	if "$@"; then echo ' [ ok ]'; else
		echo ' [ !! ]'
		exit 1
	fi
}
require_good_config() {
	check && return
	echo " * $name refuses $config (above)" >&2
	exit 1
}

start() {
	if there; then
		echo " * $name is already running"
		return
	fi
	if [ ! -e "$config" ]; then
		echo " * $config: no such file" >&2
		exit 1
	fi
	require_good_config
	logging || { busybox syslogd -O /var/log/messages && await logging; }
	outcome Starting launched
}
launched() { launch && await there; }
stop() {
	if gone; then
		echo " * $name is already stopped"
		return
	fi
	outcome Stopping ended
}
ended() {
	kill -TERM $(pids) 2>/dev/null
	await gone || { kill -KILL $(pids) 2>/dev/null && await gone; }
}
restart() {
	old=$(kept | head -n 1)
	if [ -z "$old" ]; then
		stop
		start
		return
	fi
	require_good_config
	outcome Restarting replaced
}
replaced() {
	kill -KILL $(kept) 2>/dev/null # trenza starts it again
	await new
}
reload() {
	require_good_config
	outcome Reloading signalled
}
signalled() {
	case $program in
	keepalived) kill -HUP "$(pids | head -n 1)" ;;
	haproxy) kill -USR2 "$(pids | head -n 1)" ;;
	apache2) kill -USR1 "$(pids | head -n 1)" ;;
	esac
}

case $1 in
start | stop | restart | reload) "$1" ;;
status)
	if there; then echo " * status: started"; else
		echo " * status: stopped"
		exit 3
	fi
	;;
*)
	echo "usage: $0 start|stop|restart|reload|status" >&2
	exit 2
	;;
esac
