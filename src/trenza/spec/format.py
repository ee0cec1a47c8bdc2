"""The lab file's format, version 1, as one declaration. Option names are the daemons' and iproute2's own words."""

from __future__ import annotations

from collections.abc import Mapping

from trenza.model.state import MacvlanMode, Restart, RouteType
from trenza.services import dnsmasq, keepalived
from trenza.spec import forms
from trenza.spec.check_format import CHECK, CHECK_RECORDS
from trenza.spec.kinds import Many, Option, Record, Table, record

_IPS = Option(
    "ip", Many(forms.INTERFACE, single=True), "Addresses with their prefix lengths: one or several, IPv4 and IPv6."
)
_MAC = Option("mac", forms.MAC, "Its MAC address; without it, one derived from the names of lab, node and interface.")
_MTU = Option("mtu", forms.MTU, "Its MTU in bytes.")
_UP = Option("up", forms.FLAG, "`false` leaves it down.")
_ACCEPT = Option(
    "accept", Many(forms.CODE, single=True), "Codes of warnings and notes that are meant so, here and below."
)
_TITLE = Option("title", Table(forms.LANGUAGE, forms.TEXT, short="en"), "A sentence, or one by language (`en`, `es`).")

PEER = record(
    "peer", "The far end of a container's veth, in its host or switch.",
    Option("name", forms.NIC, "Its name; without it `CONTAINER-NIC`, shortened to 15 bytes."), _IPS, _MAC, _MTU,
    scalar="name",
)  # fmt: skip

NIC = record(
    "nic", "A network interface and what it plugs into.",
    Option(
        "to", forms.PLUG,
        "A switch, a cable, a bridge of the same host, `host` (a veth that ends in the host itself), another NIC "
        "(`host2.eth1`, an implicit cable), or `nat` (an uplink with DHCP). "
        "Looked up in the same host first, then in the lab.",
    ),
    _IPS,
    Option("gateway", Many(forms.ADDRESS, single=True), "Default routes through this interface: one for each family."),
    _MAC, _MTU,
    Option("peer", PEER, "The far end of the veth, for `to: host` and for bridges and switches."),
    Option("dhcp", forms.FLAG, "`true` runs a DHCP client (`udhcpc`) on it; `up` waits until it has a lease."),
    _UP, _ACCEPT,
    scalar="to",
)  # fmt: skip

PORT = record(
    "port", "A bridge port's STP options.",
    Option("cost", forms.whole(1, 65535), "Path cost; without it the kernel's own by speed (2 for a veth)."),
    Option("priority", forms.whole(0, 63), "Port priority."),
)  # fmt: skip
_PORTS = Table(forms.NIC, PORT, listable=True)

STP = record(
    "stp", "STP is on; times in seconds.",
    Option("priority", forms.whole(0, 65535), "Bridge priority: the lowest becomes root. Without it 32768."),
    Option("forward_delay", forms.number(2, 30), "Time in each of listening and learning. Without it 15."),
    Option("hello_time", forms.number(1, 10), "Time between two BPDUs of the root. Without it 2."),
    Option("max_age", forms.number(6, 40), "Time after which a silent root is forgotten. Without it 20."),
    switchable=True,
)  # fmt: skip

_STP = Option("stp", STP, "The spanning tree protocol: `true`, or its options. Without it STP is off.")
_AGEING = Option(
    "ageing_time", forms.number(0, 1_000_000), "Seconds until a learnt MAC address is forgotten. Without it 300."
)

BRIDGE = record(
    "bridge", "A Linux bridge.",
    Option("ports", _PORTS, "Interfaces of the same node, as a list, or as a mapping with options for each."),
    _IPS, _MAC, _MTU, _AGEING, _STP, _UP, _ACCEPT,
    sequence="ports",
)  # fmt: skip

SWITCH = record(
    "switch", "A learning switch one can look into: a node whose one bridge has its name.",
    Option("ports", _PORTS, "Cables that end in it, or its ports' names: a list, or a mapping with options."),
    _IPS, _MAC, _MTU, _AGEING, _STP,
    Option("each", Many(forms.SPAN, single=True), "Copies: `1..8` on a switch named `s` makes s1 to s8."),
    _ACCEPT,
    sequence="ports",
)  # fmt: skip

FDB = record(
    "fdb entry", "A static entry of a tunnel's forwarding table.",
    Option("mac", forms.FDB_MAC, "The inner MAC address; all zeros for whatever is not known.", required=True),
    Option("dst", forms.ADDRESS, "The tunnel end that gets its frames.", required=True),
)  # fmt: skip

VXLAN = record(
    "vxlan", "A VXLAN tunnel end.",
    Option("vni", forms.whole(0, 16_777_215), "The network's identifier.", required=True),
    Option("local", forms.ADDRESS, "The outer source address."),
    Option("remote", Many(forms.ADDRESS, single=True), "The other tunnel end, or several."),
    Option("remotes", Many(forms.ADDRESS, single=True), "The other tunnel ends."),
    Option("port", forms.whole(1, 65535), "UDP port. Without it 4789."),
    Option("dev", forms.NIC, "The interface that the outer packets leave through."),
    Option("learning", forms.FLAG, "`false` learns no MAC addresses from what arrives."),
    Option("fdb", Many(FDB), "Static forwarding entries."),
    _IPS, _MTU, _MAC, _UP, _ACCEPT,
)  # fmt: skip

MACVLAN = record(
    "macvlan", "A macvlan over another interface.",
    Option("parent", forms.PLUG, "An interface of the same node or, for a container, of its host.", required=True),
    Option("mode", forms.choice(*(mode.value for mode in MacvlanMode)), "Without it `bridge`."),
    _IPS, _MAC, _MTU, _UP, _ACCEPT,
    scalar="parent",
)  # fmt: skip

ROUTE = record(
    "route", "A route.",
    Option("to", forms.DESTINATION, "A network, an address, or `default`.", required=True),
    Option("via", forms.ADDRESS, "The next hop."),
    Option("dev", forms.NIC, "The interface; without it the one on whose subnet `via` lies."),
    Option("metric", forms.whole(0, 2**32 - 1), "The lower wins."),
    Option("onlink", forms.FLAG, "`true`: `via` is on `dev` although no subnet of it says so."),
    Option("type", forms.choice(*(kind.value for kind in RouteType)), "Without it `unicast`."),
    _ACCEPT,
)  # fmt: skip

FILE = record(
    "file", "A file that trenza puts into the node.",
    Option("text", forms.VERBATIM, "Its content.", group="content"),
    Option("from", forms.SOURCE, "The name of a file below the lab's directory.", group="content"),
    Option("mode", forms.MODE, "Without it 0644."),
    Option("owner", forms.USER, "Without it root."),
    scalar="text",
)  # fmt: skip

_ARGV = Many(forms.VERBATIM, single=True, appends=False)

READY = record(
    "ready", "When a service counts as ready; without it, when it runs.",
    Option("tcp", forms.whole(1, 65535), "Something listens on this port.", group="condition"),
    Option("file", forms.PATH, "This file exists.", group="condition"),
    Option("command", _ARGV, "This command exits with 0.", group="condition"),
    Option("log", forms.TEXT, "The service's log holds this text.", group="condition"),
    Option("deadline", forms.number(0.1, 3600), "Seconds until it counts as failed. Without it 30."),
)  # fmt: skip

SERVICE = record(
    "service", "A program that runs as long as its node.",
    Option("run", _ARGV, "The command as a list of words.", required=True),
    Option("ready", READY, "When it counts as ready."),
    Option("restart", forms.choice(*(kind.value for kind in Restart)),
           "Without it `on-failure`; before Linux 6.15 every end counts as a failure."),
    Option("env", Table(forms.ENVIRONMENT, forms.VERBATIM), "Its environment's variables."),
    Option("user", forms.USER, "Without it root."),
    sequence="run",
)  # fmt: skip

_CONFIG = Option(
    "config", forms.VERBATIM, "The daemon's own config file, word for word, instead of all else.", alone=True
)


def _numbers(numbers: Mapping[str, tuple[float, float, str]]) -> tuple[Option, ...]:
    return tuple(Option(name, forms.number(low, high), doc) for name, (low, high, doc) in numbers.items())


VRRP = record(
    "vrrp", "A virtual router that keepalived takes part in (`vrrp_instance`).",
    Option("nic", forms.NIC, "The interface it speaks on.", required=True),
    Option("id", forms.whole(1, 255), "The virtual router's number, the same in the whole group.", required=True),
    Option("priority", forms.whole(1, 255), "The highest becomes master. Without it 100."),
    Option("state", forms.choice("MASTER", "BACKUP"), "How it begins. Without it BACKUP."),
    Option("advert_int", forms.number(0.01, 255), "Seconds between two advertisements of the master. Without it 1."),
    Option(
        "addresses", Many(forms.HOST_ADDRESS, single=True),
        "The addresses that the master holds; without a prefix length /32.",
    ),
    Option("nopreempt", forms.FLAG, "`true`: whoever is master stays so when a better one comes back."),
    *_numbers(keepalived.VRRP_NUMBERS),
    Option("track_script", Many(forms.NAME, single=True), "Names of `scripts` that move its priority."),
    Option("track_interface", Many(forms.NIC, single=True), "Interfaces without which it is at fault."),
)  # fmt: skip

TRACK_SCRIPT = record(
    "track script", "A command that keepalived runs again and again (`vrrp_script`).",
    Option("script", _ARGV, "The command as a list of words, its program by its whole path.", required=True),
    *_numbers(keepalived.SCRIPT_NUMBERS),
    sequence="script",
)  # fmt: skip

KEEPALIVED = record(
    "keepalived", "keepalived, for VRRP; its config is /etc/keepalived/keepalived.conf.",
    Option("vrrp", Table(forms.NAME, VRRP), "Virtual routers by name."),
    Option("scripts", Table(forms.NAME, TRACK_SCRIPT), "Commands that virtual routers follow, by name."),
    Option("vrrp_startup_delay", forms.number(0, 3600), "Seconds that it waits before it takes part."),
    _CONFIG,
)  # fmt: skip

_LINES = Many(forms.VERBATIM, single=True)
BALANCER_SERVER = record(
    "server", "A server of a backend.",
    Option("address", forms.TEXT, "`ADDRESS:PORT`.", required=True),
    Option("check", forms.FLAG, "`true` checks whether it answers."),
    Option("inter", forms.number(0.001, 3600), "Seconds between two checks. Without it 2."),
    Option("fall", forms.whole(1, 100), "Failed checks in a row until it is down. Without it 3."),
    Option("rise", forms.whole(1, 100), "Good checks in a row until it is up again. Without it 2."),
    Option("weight", forms.whole(0, 256), "Its share of the requests. Without it 1."),
    Option("cookie", forms.TEXT, "Its value of the backend's cookie."),
    Option("backup", forms.FLAG, "`true`: only while all others are down."),
    scalar="address",
)  # fmt: skip
FRONTEND = record(
    "frontend", "Where haproxy takes requests.",
    Option("bind", _LINES, "`*:8000`, or `ADDRESS:PORT`; one or several.", required=True),
    Option("mode", forms.choice("http", "tcp"), "Without it http."),
    Option("acl", _LINES, "Conditions: `php path_end .php`."),
    Option("use_backend", _LINES, "Backends for some: `scripts if php`."),
    Option("default_backend", forms.NAME, "The backend for all others."),
    Option("option", _LINES, "haproxy's options: `forwardfor`."),
)  # fmt: skip
BACKEND = record(
    "backend", "Where haproxy sends requests.",
    Option("balance", forms.TEXT, "`roundrobin`, `leastconn`, `source`… Without it roundrobin."),
    Option("mode", forms.choice("http", "tcp"), "Without it http."),
    Option("option", _LINES, "haproxy's options: `redispatch 1`, `httpchk GET /`."),
    Option("retries", forms.whole(0, 100), "Tries to connect to a server again. Without it 3."),
    Option("timeout", Table(forms.NAME, forms.number(0.001, 86400)), "Seconds: `connect`, `server`, `check`, `queue`."),
    Option("cookie", forms.TEXT, "`SERVERID insert indirect nocache`."),
    Option("servers", Table(forms.NAME, BALANCER_SERVER), "Its servers, by name."),
)  # fmt: skip
HAPROXY = record(
    "haproxy", "haproxy, a balancer; its config is /etc/haproxy/haproxy.cfg.",
    Option("frontends", Table(forms.NAME, FRONTEND), "Where it takes requests."),
    Option("backends", Table(forms.NAME, BACKEND), "Where it sends them."),
    _CONFIG,
)  # fmt: skip

APACHE = record(
    "apache", "Apache, a web server; its config is /etc/apache2/httpd.conf.",
    Option("listen", forms.whole(1, 65535), "Its port. Without it 80."),
    Option("document_root", forms.PATH, "The directory of its pages. Without it /var/www/localhost/htdocs."),
    Option("php", forms.FLAG, "`false` leaves PHP out."),
    _CONFIG,
    switchable=True,
)  # fmt: skip

DNSMASQ = record(
    "dnsmasq", "dnsmasq, a DHCP and DNS server; its config is /etc/dnsmasq.conf.",
    *(Option(name, _LINES, doc) for name, doc in dnsmasq.OPTIONS.items()),
    _CONFIG,
    switchable=True,
)  # fmt: skip

SYSLOG = record(
    "syslog", "What is logged in the node, in /var/log/messages. A node with keepalived or haproxy has it anyway.",
    switchable=True,
)  # fmt: skip

DAEMONS: Mapping[str, Record] = {kind.name: kind for kind in (KEEPALIVED, HAPROXY, APACHE, DNSMASQ, SYSLOG)}
SERVICE_KINDS = ("run", *DAEMONS)

_NODE = (
    Option("nics", Table(forms.NIC, NIC, listable=True), "Its network interfaces."),
    Option("bridges", Table(forms.BRIDGE, BRIDGE, listable=True), "Its bridges."),
    Option("vxlans", Table(forms.NIC, VXLAN), "Its VXLAN tunnel ends."),
    Option("macvlans", Table(forms.NIC, MACVLAN), "Its macvlans."),
    Option("routes", Many(ROUTE), "Its routes."),
    Option("forwarding", forms.FLAG, "`true` makes it a router: it forwards packets of both families."),
    Option("sysctls", Table(forms.SYSCTL, forms.SYSCTL_VALUE), "Kernel parameters below `net.`, dots between words."),
    Option("files", Table(forms.PATH, FILE), "Files to put into it, by path."),
    Option("services", Table(forms.NAME, SERVICE, own=DAEMONS), "Programs that run in it, and daemons by their names."),
    Option("use", Many(forms.NAME, single=True), "Templates that it starts from, in order."),
    Option("hostname", forms.HOSTNAME, "Its host name; without it its own bare name."),
    Option(
        "each",
        Many(forms.SPAN, single=True),
        "Copies: `1..1000` on a node named `h` makes h1 to h1000, with `$n` inside.",
    ),
    _ACCEPT,
)
CONTAINER = record("container", "A container of a host.", *_NODE)
HOST = record(
    "host",
    "A host: a machine of the lab.",
    *_NODE,
    Option("containers", Table(forms.NODE, CONTAINER, listable=True), "Its containers."),
)

_HOSTS = Option("hosts", Table(forms.NODE, HOST, listable=True), "The machines.")
_SWITCHES = Option("switches", Table(forms.SWITCH, SWITCH, listable=True), "The switches.")
_CABLES = Option(
    "cables", Table(forms.CABLE, Many(forms.PLUG), listable=True),
    "Point-to-point cables: a list of names, or a mapping from a name to its two ends (`[s1, host1.eth0]`).",
)  # fmt: skip

CLUSTER = record(
    "cluster", "A Kubernetes cluster that hosts of the lab form; `trenza kubeconfig` lets your own kubectl in.",
    Option("master", forms.NODE, "The host of the API server, scheduler and controllers.", required=True),
    Option("nodes", Many(forms.NODE), "The hosts that run pods.", required=True),
    Option("pods", forms.DESTINATION, "The pods' network, a /24 of it for each node. Without it 172.16.0.0/16."),
    Option("services", forms.DESTINATION, "The services' network. Without it 10.254.0.0/16."),
    Option("overlay", forms.choice("vxlan", "host-gw"), "How nodes reach each other's pods. Without it vxlan."),
    Option("store", forms.choice("embedded", "etcd"), "Where objects are kept. Without it embedded in the server."),
    Option("etcd", Many(forms.NODE, single=True), "The hosts that run etcd. Without them the master."),
    Option(
        "manifests", Many(forms.SOURCE, single=True),
        "Names of files of Kubernetes objects below the lab's directory, which `up` applies and takes away again.",
    ),
    Option("heartbeat", forms.number(0.2, 60), "Seconds between two heartbeats of a node. Without it 1."),
    Option("grace", forms.number(1, 600), "A node not heard of for so many seconds is NotReady. Without it 5."),
    Option("eviction", forms.number(0, 3600), "Its pods are replaced after so many more. Without it 5."),
)  # fmt: skip
_CLUSTER = Option("cluster", CLUSTER, "A Kubernetes cluster.")

ADDS = record("adds", "What is merged into the lab.", _HOSTS, _SWITCHES, _CABLES, _CLUSTER)

CHECKPOINT = record(
    "checkpoint", "A graded step.",
    Option("name", forms.NAME, "Its name.", required=True),
    _TITLE,
    Option("points", forms.number(0, 1_000_000), "What it is worth."),
    Option("adds", ADDS, "The reference solution of this step."),
    Option("checks", Many(CHECK), "Questions about behaviour, each `{KIND: …}`."),
)  # fmt: skip

HIDDEN = record(
    "hidden checks", "A file of checks that students do not have, for `check --hidden` and `grade --hidden`.",
    Option(
        "checkpoints",
        Many(record(
            "hidden checkpoint", "Further checks of a checkpoint.",
            Option("name", forms.NAME, "The checkpoint's name.", required=True),
            Option("checks", Many(CHECK), "Its further checks."),
        )),
        "The checkpoints that get more checks.", required=True,
    ),
)  # fmt: skip

VARIANT = record(
    "variant", "A change of the lab that is chosen with `--with`.", _TITLE, Option("adds", ADDS, "The change.")
)

_VALUES = Table(forms.PARAMETER, forms.PLAIN)

LAB = record(
    "lab", "A lab file.",
    Option("lab", forms.LAB, "The lab's name.", required=True),
    _TITLE,
    Option("parameters", _VALUES, "Values by name, written `$name` or `${name}` elsewhere; `--set name=value`."),
    Option(
        "seeded", Table(forms.PARAMETER, Many(forms.SEEDED, single=True)),
        "Parameters of which each student has a value of her own (`--student NAME --seed SECRET`): one of a list, or "
        "of a range as `100..4000`.",
    ),
    Option("profiles", Table(forms.NAME, _VALUES), "Named sets of parameters; `--profile NAME`."),
    Option("templates", Table(forms.NAME, HOST), "What several nodes share; they say `use: NAME`."),
    _SWITCHES, _CABLES, _HOSTS, _CLUSTER,
    Option("checkpoints", Many(CHECKPOINT), "The steps of the exercise, in order."),
    Option("variants", Table(forms.NAME, VARIANT), "Changes to choose."),
    Option(
        "equivalent", Table(forms.TEXT, forms.TEXT),
        "What `lint --solve` changes in the solution and no check is to see, by its name or a pattern with `*`, with "
        "the reason.",
    ),
    _ACCEPT,
)  # fmt: skip

RECORDS: tuple[Record, ...] = (
    LAB, HOST, CONTAINER, SWITCH, NIC, PEER, BRIDGE, PORT, STP, VXLAN, FDB, MACVLAN, ROUTE, FILE, SERVICE, READY,
    KEEPALIVED, VRRP, TRACK_SCRIPT, HAPROXY, FRONTEND, BACKEND, BALANCER_SERVER, APACHE, DNSMASQ, SYSLOG,
    CLUSTER, CHECKPOINT, VARIANT, ADDS, *CHECK_RECORDS,
)  # fmt: skip
