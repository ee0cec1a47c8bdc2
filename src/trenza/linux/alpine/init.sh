#!/bin/sh
# Starts and stops a daemon, as OpenRC's scripts do on Alpine. This one serves keepalived, haproxy and apache2: the
# name it is called by says which. Only processes of this very node count, not those of its containers.
name=${0##*/}
unset TRENZA_SERVICE # that of whoever calls, a script of keepalived's perhaps, is not the daemon's
output=/dev/null
case $name in
keepalived)
	config=/etc/keepalived/keepalived.conf
	check() { keepalived --config-test -f "$config"; }
	launch() { keepalived --vrrp --log-detail -f "$config"; }
	;;
haproxy)
	config=/etc/haproxy/haproxy.cfg output=/var/log/haproxy.log
	check() { said=$(haproxy -c -f "$config" 2>&1) || { echo "$said" >&2 && false; }; }
	launch() { haproxy -W -D -S /run/haproxy-master.sock -p /run/haproxy.pid -f "$config"; }
	;;
apache2)
	config=/etc/apache2/httpd.conf output=/var/log/apache2/start.log
	check() { said=$(apache2 -t -f "$config" 2>&1) || { echo "$said" >&2 && false; }; }
	launch() { apache2 -k start -f "$config"; }
	;;
*)
	echo "$name: not known here" >&2
	exit 1
	;;
esac

stops=/run/trenza.stopped # who stops a daemon that trenza keeps running says so here, by the service's name
pids() { pgrep --ns $$ --nslist pid -f "^([^ ]*/)?$name( |\$)"; }
first() { pids | head -n 1; }
gone() { [ -z "$(pids)" ]; }
there() { [ -n "$(pids)" ]; }
logging() { [ -S /run/log.socket ]; }
# kept: the services by which trenza started those that run, and starts them again when they die
kept() {
	for pid in $(pids); do
		tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | sed -n 's/^TRENZA_SERVICE=//p'
	done | sort -u
}
# stopped: the services of trenza's that were stopped here
stopped() { [ -d "$stops" ] && (cd "$stops" && grep -lx "$name" -- * 2>/dev/null); }
# await CONDITION: until it holds, five seconds at most
await() {
	tries=100
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.05
	done
}
# outcome VERB COMMAND…: says what is done and whether it was
outcome() {
	printf ' * %s %s ...' "$1" "$name"
	shift
	if "$@"; then echo ' [ ok ]'; else
		echo ' [ !! ]'
		[ -f "$output" ] && cat "$output" >&2
		exit 1
	fi
}
require_good_config() {
	if [ ! -e "$config" ]; then
		echo " * $name: $config is not there" >&2
		exit 1
	fi
	check && return
	echo " * $name refuses $config (above)" >&2
	exit 1
}

start() {
	if there; then
		echo " * $name is already running"
		return
	fi
	require_good_config
	outcome Starting started
}
started() {
	if [ -n "$(stopped)" ]; then # trenza runs it, as before
		for service in $(stopped); do echo start >>"$stops/$service"; done
		await there && return
		echo "trenza does not start it: its keeper is gone; any trenza command outside brings it back" >"$output"
		return 1
	fi
	logging || { busybox syslogd -O /var/log/messages 9>&- && await logging; }
	launch >"$output" 2>&1 9>&- && await there
}
stop() {
	if gone; then
		echo " * $name is already stopped"
		return
	fi
	outcome Stopping ended
}
ended() {
	for service in $(kept); do
		mkdir -p "$stops" && echo "$name" >"$stops/$service"
	done
	kill -TERM $(pids) 2>/dev/null
	await gone || { kill -KILL $(pids) 2>/dev/null && await gone; }
}
restart() {
	require_good_config
	stop
	start
}
reload() {
	if gone; then
		echo " * $name is not running" >&2
		exit 1
	fi
	require_good_config
	outcome Reloading signalled
}
signalled() {
	case $name in
	keepalived) kill -HUP "$(first)" ;;
	haproxy) kill -USR2 "$(first)" ;;
	apache2) kill -USR1 "$(first)" ;;
	esac
}

case $1 in
start | stop | restart | reload)
	exec 9>"/run/lock/init-$name" # one at a time
	flock 9
	"$1"
	;;
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
