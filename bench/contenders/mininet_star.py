"""A star of hosts in Mininet, for `engine.py`: its own API, its own Linux bridge, everything of it at its defaults.

Run by the system's Python (Debian's package `mininet`); prints "built PID PID PID" and ends the network when its
standard input does.
"""

from __future__ import annotations

import sys

from mininet.net import Mininet
from mininet.nodelib import LinuxBridge


def main() -> None:
    count = int(sys.argv[1])
    network = Mininet(switch=LinuxBridge, controller=None, ipBase="10.0.0.0/16")
    switch = network.addSwitch("s1")
    hosts = [network.addHost(f"h{number}") for number in range(count)]
    for host in hosts:
        network.addLink(host, switch)
    network.start()
    print("built", hosts[0].pid, hosts[count // 2].pid, hosts[-1].pid, flush=True)
    sys.stdin.read()
    network.stop()


main()
