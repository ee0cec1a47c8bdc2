"""Checks: decoded questions become `trenza.model.checks`, their names resolved against the whole lab."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult

from trenza.model.checks import (
    Arp,
    Asker,
    Check,
    Dhcp,
    Dns,
    FaultOutcome,
    Fdb,
    Http,
    KubernetesObject,
    Mtu,
    Netns,
    NoIp,
    NoPing,
    Owner,
    PathTaken,
    Ping,
    PingAll,
    Question,
    RouteTo,
    Run,
    Seen,
    ServiceRuns,
    Spot,
    Stp,
    Tcp,
    Traffic,
)
from trenza.model.cluster import BRIDGE, TUNNEL, Cluster
from trenza.model.lab import Cable
from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import IpNetwork, RouteType
from trenza.spec.check_format import CHECK_KINDS, pod_of, service_of
from trenza.spec.decode import Decoded, Given
from trenza.spec.drafts import Draft, Drafts
from trenza.spec.forms import DEFAULT
from trenza.spec.parameters import is_unfilled
from trenza.spec.report import Report, Word, meant
from trenza.spec.tree import Place

_ECHOES, _ECHOES_MEANWHILE = 10, 3
_ROUND = 12
"""Requests for each server whose share of them is asked for."""


class Asking:
    """Reads the checks of one lab; says which names are not there."""

    def __init__(
        self, drafts: Drafts, cables: tuple[Cable, ...], cluster: Cluster | None, report: Report, *, clustered: bool
    ) -> None:
        """`clustered`: the lab has a cluster, if only a wrong one, of which enough was said then."""
        self._clustered = clustered
        self._drafts = replace(drafts, report=report)
        self._cables = cables
        self._cluster = cluster
        self._report = report

    def told_to(self, report: Report) -> Asking:
        """The same, but what is wrong is said in another file's report."""
        return Asking(self._drafts, self._cables, self._cluster, report, clustered=self._clustered)

    def checks(self, checkpoint: Decoded, later: tuple[str, ...], *, hidden: bool = False) -> tuple[Check, ...]:
        """The checks of a checkpoint; `later` are the names of those that follow it."""
        read = (self._check(one, later, hidden) for one in checkpoint.records("checks"))
        return tuple(check for check in read if check is not None)

    def find_check(self, check: Decoded) -> Check | None:
        """A check of no checkpoint; None where it is wrong, which was said."""
        return self._check(check, (), hidden=False)

    def _check(self, check: Decoded, later: tuple[str, ...], hidden: bool) -> Check | None:
        until = check.text("until")
        if until is not None and until not in later:
            hint = meant(until, later, "later checkpoints")
            self._report.say(
                "E014", check.place("until"), hint, kind=Word("checkpoint"), name=until, where=Word("checks")
            )
        question = self._question(check)
        if question is None:
            return None
        weight = check.number("weight")
        return Check(
            question=question,
            title={language: str(given.value) for language, given in check.scalars("title").items()},
            weight=1 if weight is None else weight,
            required=check.flag("required", False),
            within_s=check.number("within"),
            until=until,
            hidden=hidden,
        )

    def _question(self, check: Decoded) -> Question | None:
        """The one question of a mapping; None where it is wrong, which was said."""
        for kind in CHECK_KINDS:
            asked = check.record(kind) if kind in check else None
            if asked is not None:
                try:
                    return self._of_kind(kind, asked)
                except _Unsaid:
                    return None
        return None

    def _of_kind(self, kind: str, asked: Decoded) -> Question:
        match kind:
            case "ping" | "ping_all" | "http" | "tcp":
                return self._traffic_of_kind(kind, asked)
            case "no_ping":
                return NoPing(self._asker(asked, "from"), self._spot(asked, "to"), asked.whole("count") or _ECHOES)
            case "path":
                hops, recorded = self._spots(asked, "hops"), self._spots(asked, "record_route")
                if not hops and not recorded:
                    self._say_missing(asked, "hops", "path")
                return PathTaken(self._asker(asked, "from"), self._spot(asked, "to"), hops, recorded)
            case "dns":
                return Dns(
                    self._asker(asked, "from"), _text(asked, "name"), asked.text("type") or "A",
                    self._find_spot(asked, "server"), asked.texts("answers"),
                )  # fmt: skip
            case "dhcp":
                return Dhcp(
                    self._nic(asked, "at"), _network(asked, "network"), self._find_spot(asked, "server"),
                    self._find_spot(asked, "router"),
                )  # fmt: skip
            case "mtu":
                return Mtu(self._asker(asked, "from"), self._spot(asked, "to"), _whole(asked, "bytes"))
            case "stp":
                return self._stp(asked)
            case "fdb":
                return Fdb(
                    self._bridge(asked, "bridge"), self._spots(asked, "has"), self._spots(asked, "lacks"),
                    asked.whole("count"), asked.flag("only", False), self._find_traffic(asked),
                )  # fmt: skip
            case "arp":
                return Arp(
                    self._node(asked, "node"), self._spot(asked, "ip"), self._node_or_nic(asked, "is"),
                    self._find_traffic(asked),
                )  # fmt: skip
            case "route":
                dev = self._nic(asked, "dev") if "dev" in asked else None
                kind_of_route = RouteType(asked.text("type") or RouteType.UNICAST)
                return RouteTo(
                    self._node(asked, "node"),
                    self._spot(asked, "to"),
                    self._find_spot(asked, "via"),
                    dev,
                    kind_of_route,
                )
            case "seen" | "not_seen":
                return self._seen(asked, never=kind == "not_seen")
            case "owner":
                of = asked.address("of")
                if of is None:
                    raise _Unsaid
                return Owner(of, self._node(asked, "seen_from"), self._node(asked, "is"))
            case "netns":
                name = _text(asked, "name")
                container = self._node(asked, "is") if "is" in asked else self._named(asked.values["name"])
                return Netns(self._node(asked, "node"), name, container)
            case "no_ip":
                return NoIp(self._nic(asked, "nic"))
            case "service":
                ports = tuple(int(str(given.value)) for given in asked.many("port"))
                return ServiceRuns(self._node(asked, "node"), _text(asked, "runs"), ports)
            case "fault":
                return self._fault(asked)
            case "kubernetes":
                return self._kubernetes(asked)
            case _:
                return Run(
                    self._node(asked, "node"), asked.texts("argv"), asked.whole("status") or 0, asked.text("output")
                )

    def _traffic_of_kind(self, kind: str, asked: Decoded, count: int = _ECHOES) -> Traffic:
        match kind:
            case "ping":
                return Ping(
                    self._asker(asked, "from"),
                    self._spot(asked, "to"),
                    asked.whole("count") or count,
                    asked.whole("size"),
                )
            case "ping_all":
                return PingAll(tuple(self._among(given) for given in asked.many("among")))
            case "http":
                return self._http(asked)
            case _:
                return Tcp(
                    self._asker(asked, "from"), self._spot(asked, "to"), _whole(asked, "port"), asked.flag("open", True)
                )

    def _http(self, asked: Decoded) -> Http:
        url, at = asked.get("to", SplitResult), asked.place("to")
        if url is None:
            raise _Unsaid
        host = url.hostname or ""
        try:
            to: Spot = ip_address(host)
        except ValueError:
            to = self._resolve(host, at)
        served_by = {
            self._asker_named(name, served.at): served.number("share")
            for name, served in asked.table("served_by").items()
        }
        affinity = asked.flag("affinity", False)
        if affinity and not served_by:
            self._say_missing(asked, "served_by", "http")
        tolerance = asked.number("tolerance")
        return Http(
            source=self._asker(asked, "from"),
            to=to,
            port=url.port or 80,
            path=(url.path or "/") + (f"?{url.query}" if url.query else ""),
            status=asked.whole("status") or 200,
            body=asked.text("body"),
            served_by=served_by,
            requests=asked.whole("requests") or max(1, _ROUND * len(served_by)),
            tolerance=0.1 if tolerance is None else tolerance,
            affinity=affinity,
        )

    def _stp(self, asked: Decoded) -> Stp:
        values = [given.value for given in asked.many("blocked")]
        blocked: int | tuple[Interface, ...] | None = None
        if len(values) == 1 and isinstance(values[0], int):
            blocked = values[0]
        elif "blocked" in asked:
            blocked = tuple(self._interface(str(given.value), given.at) for given in asked.many("blocked"))
        root = self._node_or_nic(asked, "root") if "root" in asked else None
        members = tuple(self._one(given) for given in asked.many("members"))
        if root is None and blocked is None and not members and "like" not in asked:
            self._say_missing(asked, "root", "stp check")
        return Stp(root, blocked, "like" in asked, members)

    def _seen(self, asked: Decoded, *, never: bool) -> Seen:
        at = _text(asked, "at")
        place: Interface | str
        if "." in at:
            place = self._interface(at, asked.place("at"))
        elif at in {cable.name for cable in self._cables}:
            place = at
        else:
            place = self._node_named(at, asked.place("at"))
        traffic = self._find_traffic(asked)
        if traffic is None:
            raise _Unsaid
        return Seen(
            place, _text(asked, "frames"), traffic, self._find_spot(asked, "src"), self._find_spot(asked, "dst"),
            asked.whole("count") or 1, never,
        )  # fmt: skip

    def _fault(self, asked: Decoded) -> FaultOutcome:
        probes, inner = asked.texts("probe"), self.checks(asked, ())
        if not probes and not asked.records("checks"):
            self._say_missing(asked, "probe", "fault check")
        return FaultOutcome(_text(asked, "break"), probes, asked.number("at_most"), "like" in asked, inner)

    def _kubernetes(self, asked: Decoded) -> KubernetesObject:
        self._require_cluster(asked.at)
        kind = _text(asked, "kind")
        for option, only in (("node", "pods"), ("endpoints", "services")):
            if option in asked and kind != only:
                self._report.say("E067", asked.place(option), None, option=option, kind=only)
                raise _Unsaid
        return KubernetesObject(
            kind, asked.text("name") or "", asked.text("namespace") or "default", asked.text("labels") or "",
            self._node(asked, "node") if "node" in asked else None, asked.text("condition") or "",
            {path: _plain(given.value) for path, given in asked.scalars("has").items()}, asked.whole("endpoints"),
            asked.whole("count"), asked.whole("at_least"),
        )  # fmt: skip

    def _require_cluster(self, at: Place) -> None:
        if self._cluster is not None:
            return
        if not self._clustered:
            self._report.say("E068", at, None)
        raise _Unsaid

    def _find_traffic(self, asked: Decoded) -> Traffic | None:
        during = asked.record("during")
        if during is None:
            return None
        for kind in CHECK_KINDS:
            traffic = during.record(kind) if kind in during else None
            if traffic is not None:
                return self._traffic_of_kind(kind, traffic, _ECHOES_MEANWHILE)
        if not during.bad:
            self._say_missing(during, "ping", "traffic")
        raise _Unsaid

    def _say_missing(self, asked: Decoded, name: str, kind: str) -> None:
        if name not in asked.bad:
            self._report.say("E029", asked.at, None, name=name, kind=Word(kind))
        raise _Unsaid

    # ------------------------------------------------------------------ names
    def _spot(self, asked: Decoded, option: str) -> Spot:
        spot = self._find_spot(asked, option)
        if spot is None:
            raise _Unsaid
        return spot

    def _find_spot(self, asked: Decoded, option: str) -> Spot | None:
        given = asked.values.get(option)
        if given is None:
            return None
        return self._of_given(given)

    def _spots(self, asked: Decoded, option: str) -> tuple[Spot, ...]:
        return tuple(self._of_given(given) for given in asked.many(option))

    def _of_given(self, given: Given) -> Spot:
        if isinstance(given.value, IPv4Address | IPv6Address):
            return given.value
        return self._resolve(str(given.value), given.at)

    def _resolve(self, text: str, at: Place) -> Spot:
        service = service_of(text)
        if service is not None and self._clustered:
            self._require_cluster(at)
            return service
        if text.startswith("pod/"):
            return self._asker_named(text, at)
        return self._interface(text, at) if "." in text else self._node_named(text, at)

    def _asker(self, asked: Decoded, option: str) -> Asker:
        return self._asker_named(_text(asked, option), asked.place(option))

    def _asker_named(self, text: str, at: Place) -> Asker:
        """A node or a pod; `pod/…` is a container only where a host of that name has it."""
        pod = pod_of(text)
        if pod is None or "pod" in self._drafts.nodes:
            return self._node_named(text, at)
        self._require_cluster(at)
        return pod if pod.node is None else replace(pod, node=self._node_named(pod.node, at))

    def _node(self, asked: Decoded, option: str) -> NodeName:
        return self._node_named(_text(asked, option), asked.place(option))

    def _named(self, given: Given) -> NodeName:
        return self._node_named(str(given.value), given.at)

    def _nic(self, asked: Decoded, option: str) -> Interface:
        return self._interface(_text(asked, option), asked.place(option))

    def _node_or_nic(self, asked: Decoded, option: str) -> NodeName | Interface:
        return self._one(Given(_text(asked, option), asked.place(option)))

    def _one(self, given: Given) -> NodeName | Interface:
        text = str(given.value)
        return self._interface(text, given.at) if "." in text else self._node_named(text, given.at)

    def _among(self, given: Given) -> Asker | Interface:
        text = str(given.value)
        return self._asker_named(text, given.at) if text.startswith("pod/") else self._one(given)

    def _bridge(self, asked: Decoded, option: str) -> Interface:
        """A switch, or NODE.BRIDGE."""
        found = self._node_or_nic(asked, option)
        if isinstance(found, Interface):
            return found
        bridges = self._drafts.nodes[found].bridges
        if found in bridges:
            return Interface(found, NicName(found))
        if len(bridges) == 1:
            return Interface(found, NicName(next(iter(bridges))))
        hint = meant("", [f"{found}.{bridge}" for bridge in bridges], "bridges")
        self._report.say("E014", asked.place(option), hint, kind=Word("bridge"), name=found, where=found)
        raise _Unsaid

    def _node_named(self, text: str, at: Place) -> NodeName:
        if is_unfilled(text):
            raise _Unsaid
        if self._drafts.is_ambiguous(text):
            self._drafts.find_node(text, None, at)
            raise _Unsaid
        node = self._drafts.find_node(text, None, at)
        if node is None:
            hint = meant(text, [*self._drafts.nodes, *self._drafts.by_bare_name], "nodes")
            self._report.say("E014", at, hint, kind=Word("node"), name=text, where=Word("this lab"))
            raise _Unsaid
        return node.name

    def _interface(self, text: str, at: Place) -> Interface:
        name, _, nic = text.partition(".")
        node = self._drafts.nodes[self._node_named(name, at)]
        faces = _faces(node)
        if self._cluster is not None and node.name in {member.node for member in self._cluster.nodes}:
            faces = {**faces, BRIDGE: None, TUNNEL: None}
        if nic not in faces:
            self._report.say("E014", at, meant(nic, faces, "nics"), kind=Word("nic"), name=nic, where=node.name)
            raise _Unsaid
        return Interface(node.name, NicName(nic))


class _Unsaid(Exception):
    """A question that cannot be read; why was said, or its place is left to the copies."""


def _faces(node: Draft) -> Mapping[str, object]:
    return {**node.nics, **node.bridges, **node.vxlans, **node.macvlans, **node.faces}


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(asked: Decoded, option: str) -> str:
    text = asked.text(option)
    if text is None:
        raise _Unsaid
    return text


def _whole(asked: Decoded, option: str) -> int:
    number = asked.whole(option)
    if number is None:
        raise _Unsaid
    return number


def _network(asked: Decoded, option: str) -> IpNetwork | None:
    given = asked.values.get(option)
    if given is None or given.value == DEFAULT:
        return None
    assert isinstance(given.value, IPv4Network | IPv6Network)
    return given.value
