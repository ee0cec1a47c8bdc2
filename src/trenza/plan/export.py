"""A state as a lab file: the text that, brought up, makes that state again, and what no lab file can say.

The text is read again and its wanted state compared with what was given: whatever differs is named, so that nothing is
lost in silence, and nothing is listed here that the format could learn tomorrow.

MAC addresses that a lab would derive by itself are left out, and so is every other default.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from trenza.errors import LabFileError
from trenza.model.cluster import Cluster
from trenza.model.names import Interface, Mac, NicName, NodeName, bare_name, derived_mac, port_name
from trenza.model.state import (
    DEFAULT_MTU_BYTES,
    Address,
    Bridge,
    BridgePort,
    FdbEntry,
    File,
    Loopback,
    Macvlan,
    MacvlanMode,
    NodeKind,
    Process,
    Restart,
    Route,
    RouteType,
    State,
    Sysctl,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
    nodes_of,
)
from trenza.plan.explain import explain
from trenza.plan.operations import Change, Create, Operation, Remove
from trenza.plan.wanted import (
    DEFAULT_METRIC,
    DEFAULT_NETWORK,
    WATCHED_SYSCTLS,
    free_end_name,
    wanted_state,
)
from trenza.services import dhcp
from trenza.services.daemons import SYSLOG
from trenza.spec import read

_DAEMONS = ("keepalived", "haproxy", "apache", "dnsmasq")
_SWITCH_SYSCTL = "net.ipv6.conf.default.disable_ipv6"
_PLAIN = re.compile(r"[A-Za-z0-9/_][A-Za-z0-9/_.+-]*")
_NOT_TEXT = re.compile(r"null|true|false|[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|0[xo][0-9a-f]+", re.IGNORECASE)
_BLOCK = re.compile(r"(?:[^\s\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff][^\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ufeff]*\n"
                    r"(?:[^\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ufeff]*\n)*)")  # fmt: skip
Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Export:
    """A lab file's text, and in words what of the state it does not make."""

    text: str
    left_out: tuple[str, ...]


def exported(
    state: State,
    lab: str,
    contents: Mapping[tuple[str, str], bytes],
    title: Mapping[str, str] = MappingProxyType({}),
    language: str = "en",
    cluster: Cluster | None = None,
) -> Export:
    """The lab file named `lab` that makes a state. `contents` has the bytes of its files by node and path."""
    seen = State.of(thing for thing in state if not _is_uplinks(thing, state))
    data = _Writer(seen, lab, contents).lab(state)
    if cluster is not None:
        data = {**data, "cluster": _cluster(cluster)}
    head = {"lab": lab, **({"title": dict(title)} if title else {})}
    text = "".join(_lines({**head, **data}, ""))
    try:
        made = wanted_state(read(text.encode(), f"{lab}.yaml").lab)
    except LabFileError as error:
        return Export(text, tuple(str(problem) for problem in error.problems))
    made = State.of(thing for thing in made if not _is_uplinks(thing, made))
    left_out = tuple(explain(differences(made, seen), language))
    comment = "".join(f"#   {line}\n" for line in left_out)
    if comment:
        comment = f"# Not in this file, since no lab file can say it (- missing here, ~ other here):\n{comment}"
    return Export(comment + text, left_out)


def _cluster(cluster: Cluster) -> dict[str, Any]:
    return {
        "master": cluster.master.node,
        "nodes": [member.node for member in cluster.nodes],
        "pods": str(cluster.pods),
        "services": str(cluster.services),
        "overlay": cluster.overlay,
        "store": "etcd" if cluster.etcd else "embedded",
        **({"etcd": [member.node for member in cluster.etcd]} if cluster.etcd else {}),
        "heartbeat": cluster.heartbeat_s,
        "grace": cluster.grace_s,
        "eviction": cluster.eviction_s,
    }


def differences(found: State, expected: State) -> tuple[Operation, ...]:
    """What differs, thing by thing: `Create` what only `found` has, `Remove` what it lacks, `Change` to what it has."""
    steps: list[Operation] = []
    for key in sorted(found.things.keys() | expected.things.keys()):
        old, new = expected.things.get(key), found.things.get(key)
        if old == new:
            continue
        if old is not None and type(old) is type(new):
            assert new is not None
            steps.append(Change(old, new))
            continue
        if old is not None and not _comes_with_a_node(old, expected, found):
            steps.append(Remove(old))
        if new is not None and not _comes_with_a_node(new, found, expected):
            steps.append(Create(new))
    return tuple(steps)


def _comes_with_a_node(thing: Thing, here: State, there: State) -> bool:
    """Whether a thing goes without saying where its node is said to be missing."""
    return isinstance(thing, Loopback | Sysctl) and bool(nodes_of(thing) & here.nodes.keys() - there.nodes.keys())


def _is_uplinks(thing: Thing, state: State) -> bool:
    """Whether a thing is wholly behind a NIC that goes out."""
    nodes = [state.nodes.get(name) for name in nodes_of(thing)]
    return all(node is not None and node.kind is NodeKind.UPLINK for node in nodes)


class _Writer:
    """Finds, for each thing, the place in a lab file that makes it."""

    def __init__(self, state: State, lab: str, contents: Mapping[tuple[str, str], bytes]) -> None:
        self.state = state
        self.name = lab
        self.contents = contents
        self.addresses: dict[Interface, list[str]] = defaultdict(list)
        self.routes: dict[NodeName, list[Route]] = defaultdict(list)
        self.sysctls: dict[NodeName, dict[str, str]] = defaultdict(dict)
        self.files: dict[NodeName, list[File]] = defaultdict(list)
        self.processes: dict[NodeName, list[Process]] = defaultdict(list)
        self.entries: dict[Interface, list[FdbEntry]] = defaultdict(list)
        self.links: dict[NodeName, list[Bridge | Vxlan | Macvlan]] = defaultdict(list)
        self.mtus: dict[Interface, int] = {}
        self.ports: dict[Interface, list[tuple[NicName, BridgePort]]] = defaultdict(list)
        self.nics: dict[NodeName, dict[str, Data]] = defaultdict(dict)
        self.plugged: set[Interface] = set()
        """Far ends that are ports because something is plugged into their bridge."""
        self.cables: dict[str, list[str]] = {}
        for thing in state:
            self._sort(thing)

    def _sort(self, thing: Thing) -> None:
        match thing:
            case Address(interface, address):
                self.addresses[interface].append(str(address))
            case Route():
                self.routes[thing.node].append(thing)
            case Sysctl(node, name, value):
                self.sysctls[node][name] = value
            case File():
                self.files[thing.node].append(thing)
            case Process():
                self.processes[thing.node].append(thing)
            case FdbEntry():
                self.entries[thing.interface].append(thing)
            case Veth():
                for end in thing.ends:
                    self._note(end.interface, end.mtu_bytes, end.port)
            case Bridge():
                self.links[thing.interface.node].append(thing)
            case Vxlan() | Macvlan():
                self.links[thing.interface.node].append(thing)
                self._note(thing.interface, thing.mtu_bytes, thing.port)
            case _:
                pass

    def _note(self, interface: Interface, mtu_bytes: int, port: BridgePort | None) -> None:
        self.mtus[interface] = mtu_bytes
        if port is not None:
            self.ports[Interface(interface.node, port.bridge)].append((interface.nic, port))

    def lab(self, whole: State) -> Data:
        """The sections of the file."""
        for thing in whole:
            if isinstance(thing, Veth):
                self._veth(thing, whole)
        switches: Data = {}
        hosts: Data = {}
        for name, node in sorted(self.state.nodes.items()):
            if node.kind is NodeKind.SWITCH:
                switches[name] = self._switch(name)
            elif node.kind is NodeKind.HOST:
                hosts[name] = self._node(name, node.hostname)
        for name, node in sorted(self.state.nodes.items()):
            if node.kind is NodeKind.CONTAINER and node.host in hosts:
                hosts[node.host].setdefault("containers", {})[bare_name(name)] = self._node(name, node.hostname)
        return _filled(switches=switches, cables=self.cables, hosts=hosts)

    # cables

    def _veth(self, veth: Veth, whole: State) -> None:
        """Say one veth: from one of its ends with `to:`, or from both."""
        kinds = [
            whole.nodes[end.interface.node].kind if end.interface.node in whole.nodes else None for end in veth.ends
        ]
        for end, kind in ((veth.a, kinds[1]), (veth.b, kinds[0])):
            if kind is NodeKind.UPLINK:
                self._say_nic(end, "nat", None)
                return
        if kinds == [NodeKind.SWITCH, NodeKind.SWITCH]:
            for end, far in ((veth.a, veth.b), (veth.b, veth.a)):
                if self._is_free_end(far, end):
                    self.cables[end.interface.nic] = [end.interface.node]
                    break
            else:
                self.cables[veth.a.interface.nic] = [veth.a.interface.node, veth.b.interface.node]
            self.plugged |= {end.interface for end in veth.ends}
            return
        for end, far, kind in ((veth.a, veth.b, kinds[1]), (veth.b, veth.a, kinds[0])):
            if kind is NodeKind.SWITCH:
                self._say_nic(end, far.interface.node, far)
                return
            if self._is_free_end(far, end):
                self._say_nic(end, None, None)
                return
        for end, far in ((veth.a, veth.b), (veth.b, veth.a)):
            node = self.state.nodes[end.interface.node]
            if node.host == far.interface.node and far.up:
                plug = "host" if far.port is None else far.port.bridge
                own = {link.interface.nic for link in self.links[end.interface.node]}
                if plug not in own:  # a bridge of its own would be meant
                    self._say_nic(end, plug, far)
                    return
        self._say_nic(veth.a, str(veth.b.interface), None)
        self._say_nic(veth.b, str(veth.a.interface), None)

    def _is_free_end(self, far: VethEnd, end: VethEnd) -> bool:
        place = Interface(end.interface.node, free_end_name(end.interface.nic))
        return (
            far.interface == place
            and not far.up
            and far.port is None
            and far.mac == self._derived(place)
            and place not in self.addresses
        )

    def _say_nic(self, end: VethEnd, to: str | None, far: VethEnd | None) -> None:
        interface = end.interface
        nic = _filled(
            to=to,
            ip=_one(self.addresses[interface]),
            mac=self._mac(interface, end.mac),
            mtu=None if end.mtu_bytes == DEFAULT_MTU_BYTES else end.mtu_bytes,
            up=None if end.up else False,
        )
        client = dhcp.client_name(interface.nic)
        if any(process.name == client for process in self.processes[interface.node]):
            nic["dhcp"] = True
        if far is not None:
            named = far.interface.nic
            peer = _filled(
                name=None if named == port_name(interface.node, interface.nic) else named,
                ip=_one(self.addresses[far.interface]),
                mac=self._mac(far.interface, far.mac),
                mtu=None if far.mtu_bytes == end.mtu_bytes else far.mtu_bytes,
            )
            if peer:
                nic["peer"] = peer
            self.plugged.add(far.interface)
        self.nics[interface.node][interface.nic] = nic

    def _derived(self, interface: Interface) -> Mac:
        return derived_mac(self.name, interface.node, interface.nic)

    def _mac(self, interface: Interface, mac: Mac) -> str | None:
        return None if mac == self._derived(interface) else mac

    # nodes

    def _switch(self, name: NodeName) -> Data:
        for link in self.links[name]:
            if isinstance(link, Bridge) and str(link.interface.nic) == name:
                data = self._bridge(link)
                if link.mtu_bytes != DEFAULT_MTU_BYTES:  # its cables take theirs from it
                    data["mtu"] = link.mtu_bytes
                return data
        return {}

    def _node(self, name: NodeName, hostname: str) -> Data:
        bridges: Data = {}
        vxlans: Data = {}
        macvlans: Data = {}
        for link in self.links[name]:
            match link:
                case Bridge():
                    bridges[link.interface.nic] = self._bridge(link)
                case Vxlan():
                    vxlans[link.interface.nic] = self._vxlan(link)
                case Macvlan():
                    macvlans[link.interface.nic] = self._macvlan(link)
        sysctls = dict(sorted(self.sysctls[name].items()))
        forwards = all(sysctls.get(one) == "1" for one in WATCHED_SYSCTLS)
        usual = "1" if forwards else "0"
        sysctls = {one: value for one, value in sysctls.items() if one not in WATCHED_SYSCTLS or value != usual}
        services, configs = self._services(name)
        return _filled(
            hostname=None if hostname == bare_name(name) else hostname,
            forwarding=True if forwards else None,
            nics=self.nics[name],
            bridges=bridges,
            vxlans=vxlans,
            macvlans=macvlans,
            routes=[_route(route) for route in sorted(self.routes[name], key=lambda route: route.key)],
            sysctls=sysctls,
            files=dict(self._files(name, configs)),
            services=services,
        )

    def _bridge(self, bridge: Bridge) -> Data:
        usual = Bridge(bridge.interface, bridge.mac)
        ports: dict[str, Data] = {}
        members = self.ports[bridge.interface]
        for nic, port in sorted(members):
            options = _filled(cost=port.cost, priority=None if port.priority == 32 else port.priority)
            if options or Interface(bridge.interface.node, nic) not in self.plugged:
                ports[nic] = options
        stp: Data | bool | None = None
        if bridge.stp:
            stp = _filled(
                priority=_unless(bridge.priority, usual.priority),
                forward_delay=_unless(bridge.forward_delay_s, usual.forward_delay_s),
                hello_time=_unless(bridge.hello_time_s, usual.hello_time_s),
                max_age=_unless(bridge.max_age_s, usual.max_age_s),
            ) or True  # fmt: skip
        smallest = min(
            (self.mtus[Interface(bridge.interface.node, nic)] for nic, _ in members), default=DEFAULT_MTU_BYTES
        )
        return _filled(
            ports=ports if any(ports.values()) else list(ports),
            ip=_one(self.addresses[bridge.interface]),
            mac=self._mac(bridge.interface, bridge.mac),
            mtu=_unless(bridge.mtu_bytes, smallest),
            ageing_time=_unless(bridge.ageing_time_s, usual.ageing_time_s),
            stp=stp,
            up=None if bridge.up else False,
        )

    def _vxlan(self, vxlan: Vxlan) -> Data:
        entries = [
            {"mac": entry.mac, "dst": str(entry.destination)}
            for entry in sorted(self.entries[vxlan.interface], key=lambda entry: entry.key)
            if entry.destination is not None
        ]
        return {
            "vni": vxlan.vni,
            **_filled(
                local=_text(vxlan.local),
                remote=_text(vxlan.remote),
                port=_unless(vxlan.udp_port, 4789),
                dev=vxlan.dev,
                learning=None if vxlan.learning else False,
                fdb=entries,
                ip=_one(self.addresses[vxlan.interface]),
                mtu=vxlan.mtu_bytes,
                mac=self._mac(vxlan.interface, vxlan.mac),
                up=None if vxlan.up else False,
            ),
        }

    def _macvlan(self, macvlan: Macvlan) -> Data:
        return {
            "parent": str(macvlan.parent),
            **_filled(
                mode=None if macvlan.mode is MacvlanMode.BRIDGE else macvlan.mode.value,
                ip=_one(self.addresses[macvlan.interface]),
                mtu=_unless(macvlan.mtu_bytes, self.mtus.get(macvlan.parent)),
                mac=self._mac(macvlan.interface, macvlan.mac),
                up=None if macvlan.up else False,
            ),
        }

    # files and services

    def _content(self, node: NodeName, path: str) -> str | None:
        """A file's text, unless a lab file cannot hold it."""
        try:
            text = self.contents[node, path].decode()
        except (KeyError, UnicodeDecodeError):
            return None
        return None if re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]", text) else text

    def _files(self, node: NodeName, configs: set[str]) -> Iterator[tuple[str, Any]]:
        for file in sorted(self.files[node], key=lambda file: file.path):
            text = self._content(node, file.path)
            if file.path in configs or text is None:
                continue
            more = _filled(
                mode=None if file.mode == 0o644 else f"{file.mode:04o}",
                owner=None if file.owner == "root" else file.owner,
            )
            yield file.path, {"text": text, **more} if more else text

    def _services(self, node: NodeName) -> tuple[Data, set[str]]:
        """The node's services, and the paths of the files that come with them."""
        services: Data = {}
        configs: set[str] = set()
        for process in self.processes[node]:
            if dhcp.find_nic(process) is not None:
                continue
            if process.name == SYSLOG:
                services[SYSLOG] = True
            elif process.name in _DAEMONS:
                config = next((word for word in map(_path_of, process.argv) if (node, word) in self.contents), None)
                if config is not None and (text := self._content(node, config)) is not None:
                    services[process.name] = {"config": text}
                    configs.add(config)
            else:
                services[process.name] = _run(process)
        return services, configs


def _path_of(word: str) -> str:
    """The path that a word of a command line holds: the word, or what follows its `=`."""
    return word.partition("=")[2] if word.startswith("--") else word


def _run(process: Process) -> Data:
    ready = process.ready
    return {
        "run": list(process.argv),
        **_filled(
            ready=_filled(
                tcp=ready.tcp, file=ready.file, command=None if ready.command is None else list(ready.command),
                log=ready.log, deadline=_unless(ready.deadline_s, 30),
            ),
            restart=None if process.restart is Restart.ON_FAILURE else process.restart.value,
            env=dict(process.env),
            user=None if process.user == "root" else process.user,
        ),
    }  # fmt: skip


def _route(route: Route) -> Data:
    version = route.to.version
    is_default = route.to == DEFAULT_NETWORK[version] and route.via is not None
    return {
        "to": "default" if is_default else str(route.to),
        **_filled(
            via=_text(route.via),
            dev=route.dev,
            metric=_unless(route.metric, DEFAULT_METRIC[version]),
            onlink=True if route.onlink else None,
            type=None if route.type is RouteType.UNICAST else route.type.value,
        ),
    }


def _filled(**options: Any) -> Data:
    """The options that say something."""
    return {name: value for name, value in options.items() if value is not None and value != {} and value != []}


def _unless(value: float, usual: float | None) -> float | None:
    """A number, as a whole one where it is; None where it is the usual."""
    if value == usual:
        return None
    return int(value) if value == int(value) else value


def _one(texts: list[str]) -> str | list[str] | None:
    return None if not texts else texts[0] if len(texts) == 1 else texts


def _text(value: object) -> str | None:
    return None if value is None else str(value)


# ---------------------------------------------------------------- YAML
def _lines(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    """A mapping as lines of YAML: one within another as blocks, what fits on a line in flow style."""
    for name, part in value.items():
        key = f"{indent}{_scalar(name)}:"
        flow = f"{key} {_flow(part)}\n"
        if isinstance(part, str) and "\n" in part and _BLOCK.fullmatch(part):
            keep = "+" if part.endswith("\n\n") else ""
            yield f"{key} |{keep}\n"
            yield from (f"{indent}  {line}" if line != "\n" else line for line in part.splitlines(keepends=True))
        elif isinstance(part, dict) and part and (len(flow) > 100 or _has_block(part)):
            yield f"{key}\n"
            yield from _lines(part, indent + "  ")
        elif isinstance(part, list) and len(flow) > 100:
            yield f"{key}\n"
            yield from (f"{indent}  - {_flow(item)}\n" for item in part)
        else:
            yield flow


def _has_block(value: Mapping[str, Any]) -> bool:
    return any("\n" in part if isinstance(part, str) else isinstance(part, dict) and _has_block(part)
               for part in value.values())  # fmt: skip


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(name)}: {_flow(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _scalar(value) if isinstance(value, str) else str(value)


def _scalar(text: str) -> str:
    """Text as it is where YAML takes it for text, else in quotes."""
    if _PLAIN.fullmatch(text) and not _NOT_TEXT.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=False)
