"""What trenza needs of a machine, as tables: programs with their packages, kernel features with their uses."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from trenza.linux import alpine


@dataclass(frozen=True, slots=True)
class Program:
    """A program and the packages that bring it. `needed`: no lab can be built without it."""

    debian: str
    fedora: str
    needed: bool = False


PROGRAMS: Final = MappingProxyType(
    {
        "catatonit": Program("catatonit", "catatonit", needed=True),
        "newuidmap": Program("uidmap", "shadow-utils"),
        "newgidmap": Program("uidmap", "shadow-utils"),
        "ip": Program("iproute2", "iproute"),
        "bridge": Program("iproute2", "iproute"),
        "tc": Program("iproute2", "iproute-tc"),
        "brctl": Program("bridge-utils", "bridge-utils"),
        "ifconfig": Program("net-tools", "net-tools"),
        "ping": Program("iputils-ping", "iputils"),
        "arping": Program("iputils-arping", "iputils"),
        "tracepath": Program("iputils-tracepath", "iputils"),
        "udhcpc": Program("udhcpc", "busybox"),
        "traceroute": Program("traceroute", "traceroute"),
        "tcpdump": Program("tcpdump", "tcpdump"),
        "tshark": Program("tshark", "wireshark-cli"),
        "nft": Program("nftables", "nftables"),
        "ps": Program("procps", "procps-ng"),
        "pstree": Program("psmisc", "psmisc"),
        "kubectl": Program("kubernetes-client", "kubernetes-client"),
    }
)
"""The programs that trenza runs, and those that people type: in a lab (a node shows the machine's /usr), or outside."""

OTHER_PACKAGES: Final = MappingProxyType(
    {
        "keepalived": Program("keepalived", "keepalived"),
        "haproxy": Program("haproxy", "haproxy"),
        "apache2": Program("apache2-bin", "httpd"),
        "libphp": Program("libapache2-mod-php", "php"),
        "busybox": Program("busybox", "busybox"),
        "slirp4netns": Program("slirp4netns", "slirp4netns"),
        "dnsmasq": Program("dnsmasq-base", "dnsmasq"),
        "etcd": Program("etcd-server", "etcd"),
        "curl": Program("curl", "curl"),
        "nc": Program("netcat-openbsd", "nmap-ncat"),
        "socat": Program("socat", "socat"),
        "iperf3": Program("iperf3", "iperf3"),
        "nginx": Program("nginx-light", "nginx"),
        "python3": Program("python3-minimal", "python3"),
    }
)
"""Programs that only some labs run as services."""

MODULES: Final = MappingProxyType({"libphp": alpine.PHP_MODULES})
"""What is looked for by the patterns of its path instead of as a program."""

ALL_PROGRAMS: Final = MappingProxyType({**PROGRAMS, **OTHER_PACKAGES})


@dataclass(frozen=True, slots=True)
class Feature:
    """A kernel feature: its module, its option in the kernel's configuration, what it is for. `needed` by every lab."""

    module: str
    option: str
    en: str
    es: str
    needed: bool = False


FEATURES: Final = MappingProxyType(
    {
        "veth": Feature("veth", "VETH", "cables", "cables", needed=True),
        "bridge": Feature("bridge", "BRIDGE", "bridges and switches", "puentes y conmutadores", needed=True),
        "overlay": Feature(
            "overlay", "OVERLAY_FS", "nodes' file systems", "sistemas de ficheros de los nodos", needed=True
        ),
        "packet": Feature("af_packet", "PACKET", "captures and probes", "capturas y sondas", needed=True),
        "vxlan": Feature("vxlan", "VXLAN", "VXLAN tunnels", "túneles VXLAN"),
        "macvlan": Feature("macvlan", "MACVLAN", "macvlans", "macvlans"),
        "nftables": Feature("nf_tables", "NF_TABLES", "nftables and iptables", "nftables e iptables"),
        "netem": Feature("sch_netem", "NET_SCH_NETEM", "delay and loss on cables", "retardo y pérdidas en cables"),
        "tbf": Feature("sch_tbf", "NET_SCH_TBF", "rate limits", "límites de tasa"),
        "vlan": Feature("8021q", "VLAN_8021Q", "802.1Q by hand", "802.1Q a mano"),
        "vrf": Feature("vrf", "NET_VRF", "VRFs by hand", "VRF a mano"),
        "dummy": Feature("dummy", "DUMMY", "dummy interfaces by hand", "interfaces dummy a mano"),
        "ifb": Feature("ifb", "IFB", "ifb by hand", "ifb a mano"),
        "ipvlan": Feature("ipvlan", "IPVLAN", "ipvlans by hand", "ipvlans a mano"),
        "bond": Feature("bonding", "BONDING", "bonds by hand", "agregados a mano"),
        "wireguard": Feature("wireguard", "WIREGUARD", "WireGuard by hand", "WireGuard a mano"),
        "gretap": Feature("ip_gre", "NET_IPGRE", "GRE by hand", "GRE a mano"),
        "geneve": Feature("geneve", "GENEVE", "Geneve by hand", "Geneve a mano"),
    }
)

NAMESPACE_KINDS: Final = ("user", "net", "pid", "mnt", "uts", "ipc", "cgroup")
NETWORK_FILE_SYSTEMS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "lustre", "fuse.sshfs"})
ARCHITECTURES: Final = frozenset({"x86_64", "aarch64"})
