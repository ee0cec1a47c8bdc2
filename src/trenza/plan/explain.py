"""A plan in the words of the field, one line a step, in English or Spanish.

    + host1: bridge br0, mtu 1500
    ~ host1.eth0: mtu 1400 → 1500
    - host1/c1.eth0: address 10.0.0.9/24

Lines are grouped by node, in the order of the plan within a node. Only words depend on the language; names and numbers
never do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import assert_never

from trenza.model.names import Interface, NodeName
from trenza.model.state import (
    DEFAULT_MTU_BYTES,
    ZERO_MAC,
    Address,
    Bridge,
    BridgePort,
    FdbEntry,
    File,
    Loopback,
    Macvlan,
    Neighbour,
    Node,
    OtherLink,
    Process,
    Route,
    RouteType,
    Sysctl,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
)
from trenza.plan.missing import LeftAlone
from trenza.plan.operations import Change, Create, Operation, Plan, Remove

_SPANISH: Mapping[str, str] = {
    "host": "host",
    "container": "contenedor",
    "switch": "conmutador",
    "uplink": "enlace de salida",
    "loopback": "interfaz lo",
    "cable to": "cable a",
    "bridge": "puente",
    "address": "dirección",
    "route": "ruta",
    "neighbour": "vecino",
    "is at": "está en",
    "static entry": "entrada estática",
    "over": "sobre",
    "file": "fichero",
    "process": "proceso",
    "interface": "interfaz",
    "default": "por defecto",
    "via": "vía",
    "port of": "puerto de",
    "down": "caída",
    "up": "activa",
    "off": "no",
    "on": "sí",
    "none": "ninguno",
    "port": "puerto",
    "cost": "coste",
    "priority": "prioridad",
    "the kernel's": "el del núcleo",
    "hostname": "nombre",
    "state": "estado",
    "mode": "modo",
    "owner": "dueño",
    "content": "contenido",
    "the lab says": "el laboratorio dice",
    "is gone or cannot be made beside what is there": "falta, o no cabe junto a lo que hay",
    "not of the lab": "no es del laboratorio",
}


def explain(plan: Plan, language: str = "en") -> list[str]:
    """The plan's steps as lines, grouped by node."""
    words = _Words(language)
    groups: dict[NodeName, list[str]] = {}
    for operation in plan:
        for node, line in words.step(operation):
            groups.setdefault(node, []).append(line)
    return [line for node in sorted(groups) for line in groups[node]]


def explain_left_alone(left: Iterable[LeftAlone], language: str = "en") -> list[str]:
    """What `missing` left alone, as lines."""
    words = _Words(language)
    ordered = sorted(left, key=lambda one: _node_of(_either(one)))
    return [line for one in ordered for line in words.left_alone(one)]


def _either(one: LeftAlone) -> Thing:
    thing = one.observed if one.observed is not None else one.declared
    assert thing is not None
    return thing


def describe(thing: Thing, language: str = "en") -> str:
    """A thing in a few words, without the place where it is: `bridge br0`, `address 10.0.0.1/24`."""
    return _Words(language).noun(thing)


def place_of(thing: Thing) -> str:
    """Where a thing is: its node, or its interface where it belongs to one."""
    match thing:
        case Node() | Bridge() | OtherLink() | Vxlan() | Macvlan():
            return thing.name if isinstance(thing, Node) else thing.interface.node
        case Veth(a):
            return str(a.interface)
        case Loopback(interface) | Address(interface) | Neighbour(interface) | FdbEntry(interface):
            return str(interface)
        case Route() | Sysctl() | File() | Process():
            return thing.node
        case _:
            assert_never(thing)


def _node_of(thing: Thing) -> NodeName:
    match thing:
        case Node(name):
            return name
        case Veth(a):
            return a.interface.node
        case Route() | Sysctl() | File() | Process():
            return thing.node
        case _:
            return thing.interface.node


class _Words:
    """Phrases of one language."""

    def __init__(self, language: str) -> None:
        self._table = _SPANISH if language.startswith("es") else {}

    def __call__(self, word: str) -> str:
        return self._table.get(word, word)

    def step(self, operation: Operation) -> Iterator[tuple[NodeName, str]]:
        """The lines of one operation, each with the node that it is about."""
        match operation:
            case Create(thing):
                yield _node_of(thing), f"+ {self.statement(thing)}"
            case Remove(thing):
                yield _node_of(thing), f"- {self.statement(thing)}"
            case Change(old, new):
                for place, what in self.changes(old, new):
                    node = place.node if isinstance(place, Interface) else place
                    yield node, f"~ {place}: {', '.join(what)}"
            case _:
                assert_never(operation)

    def left_alone(self, one: LeftAlone) -> Iterator[str]:
        match one.observed, one.declared:
            case None, declared if declared is not None:
                yield f"{self.statement(declared)} ({self('is gone or cannot be made beside what is there')})"
            case observed, None if observed is not None:
                yield f"{self.statement(observed)} ({self('not of the lab')})"
            case observed, declared if observed is not None and declared is not None:
                if type(observed) is not type(declared):
                    yield f"{self.statement(observed)} ({self('the lab says')}: {self.noun(declared)})"
                    return
                for place, what in self.changes(declared, observed):
                    yield f"{place}: {', '.join(what)}"
            case _:
                pass

    def statement(self, thing: Thing) -> str:
        """Place and noun; a node is its own place."""
        if isinstance(thing, Node):
            return f"{thing.name}: {self.noun(thing)}"
        return f"{place_of(thing)}: {self.noun(thing)}"

    def noun(self, thing: Thing) -> str:
        match thing:
            case Node(kind=kind):
                return self(kind.value)
            case Loopback():
                return self("loopback")
            case Veth(a, b):
                return ", ".join([f"{self('cable to')} {b.interface}", *self._marks(a)])
            case Bridge(interface):
                return ", ".join(
                    [f"{self('bridge')} {interface.nic}", *(["STP"] if thing.stp else []), *self._marks(thing)]
                )
            case Vxlan(interface, vni=vni):
                return ", ".join([f"vxlan {interface.nic}", f"vni {vni}", *self._marks(thing)])
            case Macvlan(interface, parent=parent):
                return ", ".join([f"macvlan {interface.nic} {self('over')} {parent}", *self._marks(thing)])
            case OtherLink(interface, kind):
                return f"{self('interface')} {interface.nic} ({kind})"
            case Address(_, address):
                return f"{self('address')} {address}"
            case Route():
                return f"{self('route')} {self.route(thing)}"
            case Neighbour(_, ip, mac):
                return f"{self('neighbour')} {ip} {self('is at')} {mac}"
            case FdbEntry(_, mac, destination):
                dst = "" if destination is None else f" dst {destination}"
                return f"{self('static entry')} {'*' if mac == ZERO_MAC else mac}{dst}"
            case Sysctl(_, name, value):
                return f"{name} = {value}"
            case File(_, path):
                return f"{self('file')} {path}"
            case Process(_, name):
                return f"{self('process')} {name}"
            case _:
                assert_never(thing)

    def route(self, route: Route) -> str:
        words = [self("default") if route.to.prefixlen == 0 else str(route.to)]
        if route.type is not RouteType.UNICAST:
            words.insert(0, route.type.value)
        if route.via is not None:
            words += [self("via"), str(route.via)]
        if route.dev is not None:
            words += ["dev", route.dev]
        if route.metric not in (0, 1024):
            words += ["metric", str(route.metric)]
        return " ".join([*words, "onlink"] if route.onlink else words)

    def _marks(self, end: VethEnd | Bridge | Vxlan | Macvlan) -> list[str]:
        """What is worth saying of a link that is made: its bridge, an unusual MTU, that it is down."""
        marks = [] if isinstance(end, Bridge) or end.port is None else [f"{self('port of')} {end.port.bridge}"]
        if end.mtu_bytes != DEFAULT_MTU_BYTES:
            marks.append(f"mtu {end.mtu_bytes}")
        return marks if end.up else [*marks, self("down")]

    # What changed

    def changes(self, old: Thing, new: Thing) -> Iterator[tuple[Interface | NodeName, list[str]]]:
        """Place and `what old → new` for each place that a change touches."""
        match old, new:
            case Veth(), Veth():
                for before, after in zip(old.ends, new.ends, strict=True):
                    if before != after:
                        yield after.interface, list(self._link_changes(before, after))
            case ((Bridge() | Loopback() | Vxlan() | Macvlan()), (Bridge() | Loopback() | Vxlan() | Macvlan())):
                yield new.interface, list(self._link_changes(old, new))
            case Node(), Node():
                yield new.name, [self._arrow("hostname", old.hostname, new.hostname)]
            case Sysctl(), Sysctl():
                yield new.node, [self._arrow(new.name, old.value, new.value)]
            case Neighbour(), Neighbour():
                yield new.interface, [self._arrow(f"{self('neighbour')} {new.ip}", old.mac, new.mac)]
            case File(), File():
                yield new.node, [f"{self('file')} {new.path} ({', '.join(self._file_changes(old, new))})"]
            case _:
                yield _node_of(new), [f"{self.noun(old)} → {self.noun(new)}"]

    def _arrow(self, what: str, old: object, new: object) -> str:
        return f"{self(what)} {old} → {new}"

    def _link_changes(self, old: VethEnd | Bridge | Loopback | Vxlan | Macvlan, new: object) -> Iterator[str]:
        names = {
            "mac": "mac",
            "mtu_bytes": "mtu",
            "up": "state",
            "port": "port",
            "mode": "mode",
            "ageing_time_s": "ageing_time",
            "stp": "stp",
            "priority": "priority",
            "forward_delay_s": "forward_delay",
            "hello_time_s": "hello_time",
            "max_age_s": "max_age",
        }
        for field, name in names.items():
            before, after = getattr(old, field, None), getattr(new, field, None)
            if before == after:
                continue
            if field == "up":
                yield self._arrow(name, self("up" if before else "down"), self("up" if after else "down"))
            elif field == "stp":
                yield self._arrow(name, self("on" if before else "off"), self("on" if after else "off"))
            elif field == "port":
                yield from self._port_changes(before, after)
            elif isinstance(before, float | int) and isinstance(after, float | int):
                yield self._arrow(name, f"{before:g}", f"{after:g}")
            else:
                yield self._arrow(name, before, after)

    def _port_changes(self, old: BridgePort | None, new: BridgePort | None) -> Iterator[str]:
        if old is None or new is None or old.bridge != new.bridge:
            before = self("none") if old is None else old.bridge
            yield self._arrow("bridge", before, self("none") if new is None else new.bridge)
            return
        if old.cost != new.cost:
            costs = [self("the kernel's") if cost is None else str(cost) for cost in (old.cost, new.cost)]
            yield self._arrow("cost", *costs)
        if old.priority != new.priority:
            yield self._arrow("priority", old.priority, new.priority)

    def _file_changes(self, old: File, new: File) -> Iterator[str]:
        if old.digest != new.digest:
            yield self("content")
        if old.mode != new.mode:
            yield self._arrow("mode", f"{old.mode:o}", f"{new.mode:o}")
        if old.owner != new.owner:
            yield self._arrow("owner", old.owner, new.owner)
