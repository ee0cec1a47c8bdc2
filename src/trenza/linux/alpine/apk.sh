#!/bin/sh
# Alpine's package manager as far as a lab needs it. A node shows this machine's programs, so that nothing is
# installed: it says what is there and what is not.

# where PACKAGE: a file that comes with it
where() {
	case $1 in
	php*)
		ls /usr/lib/apache2/modules/libphp*.so /usr/lib64/httpd/modules/libphp*.so 2>/dev/null | head -n 1
		return
		;;
	bridge | bridge-utils) set -- brctl ;;
	iproute2*) set -- ip ;;
	net-tools) set -- ifconfig ;;
	iputils*) set -- ping ;;
	busybox*) set -- busybox ;;
	bind-tools) set -- dig ;;
	dhcpcd | dhclient) set -- udhcpc ;;
	procps*) set -- ps ;;
	nftables) set -- nft ;;
	esac
	command -v "$1"
}

case $1 in
update | upgrade | fix)
	echo 'OK: the programs of a node are those of this machine'
	exit 0
	;;
add) shift ;;
info | search | list)
	shift
	for package in "$@"; do [ -n "$(where "$package")" ] && echo "$package"; done
	exit 0
	;;
del)
	echo 'apk: the programs of a node are those of this machine: nothing is removed' >&2
	exit 1
	;;
*)
	echo 'usage: apk add PACKAGE… | apk update | apk info PACKAGE…' >&2
	exit 2
	;;
esac
status=0 count=0
for package in "$@"; do
	case $package in -*) continue ;; esac
	count=$((count + 1))
	found=$(where "$package")
	if [ -n "$found" ]; then
		echo "($count) $package is here already ($found)"
	else
		echo "ERROR: $package is not on this machine; outside the lab, on Debian: sudo apt install $package" >&2
		status=1
	fi
done
[ $status = 0 ] && echo "OK: $count packages"
exit $status
