#!/bin/sh
# What udhcpc runs when a lease comes or goes: /etc/udhcpc/default.script of every node (udhcpc(8) names the variables).
# A leased address lives no longer than its lease, and its routes say `proto dhcp`: neither is anybody's configuration.
# What was configured by hand, or by the lab, stays: addresses, routes, and a resolv.conf that somebody else wrote.

leases=/run/udhcpc
lease_file=$leases/$interface
longest=2147483647

write_resolver() {
	if [ -s /etc/resolv.conf ] && ! head -n 1 /etc/resolv.conf | grep -q '^# by udhcpc'; then
		return
	fi
	{
		echo "# by udhcpc"
		cat "$leases"/* 2>/dev/null
	} >/etc/resolv.conf
}

flush() {
	ip -4 route flush dev "$interface" proto dhcp 2>/dev/null
	ip -4 address flush dev "$interface" dynamic
}

add_routes() {
	# Another number for each interface, as Alpine does it, and behind any route that somebody configured.
	metric=$((200 + $(cat "/sys/class/net/$interface/ifindex")))
	onlink=
	[ "$subnet" = 255.255.255.255 ] && onlink=onlink
	ip -4 route flush dev "$interface" proto dhcp 2>/dev/null
	if [ -n "$staticroutes" ]; then # they replace the router (RFC 3442)
		# shellcheck disable=SC2086
		set -- $staticroutes
		while [ $# -ge 2 ]; do
			if [ "$2" = 0.0.0.0 ]; then
				ip -4 route replace "$1" dev "$interface" proto dhcp metric "$metric"
			else
				ip -4 route replace "$1" via "$2" dev "$interface" proto dhcp metric "$metric" $onlink
			fi
			shift 2
		done
	elif [ -n "$router" ]; then
		ip -4 route replace default via "${router%% *}" dev "$interface" proto dhcp metric "$metric" $onlink
	fi
}

case $1 in
deconfig)
	# The lab decides whether an interface of a declared client is up.
	[ -n "$TRENZA_SERVICE" ] || ip link set dev "$interface" up
	flush
	rm -f "$lease_file"
	write_resolver
	;;
bound | renew)
	seconds=${lease:-$longest}
	[ "$seconds" -le "$longest" ] 2>/dev/null || seconds=$longest
	ip -4 -o address show dev "$interface" dynamic | while read -r _ _ _ old _; do
		[ "$old" = "$ip/$mask" ] || ip -4 address del "$old" dev "$interface"
	done
	ip -4 address replace "$ip/$mask" broadcast "${broadcast:-+}" dev "$interface" \
		valid_lft "$seconds" preferred_lft "$seconds" || exit 1
	add_routes
	mkdir -p "$leases"
	{
		[ -z "$domain" ] || echo "search $domain"
		for server in $dns; do echo "nameserver $server"; done
	} >"$lease_file.new"
	mv "$lease_file.new" "$lease_file"
	write_resolver
	echo "$interface: $ip/$mask for $seconds s from ${serverid:-?}, router ${router:-none}, DNS ${dns:-none}"
	;;
leasefail) echo "$interface: no DHCP server answers" ;;
nak) echo "$interface: the server refused: ${message:-no reason given}" ;;
esac
