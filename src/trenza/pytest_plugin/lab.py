"""A lab as tests use it: each kind of check of the lab file is an assertion, with the same keys.

Where a key is a word of Python's own it ends in `_`: `from_`, `is_`, `break_`. An assertion asks until it is true or
its time is over (`within` seconds, else as long as theory says that the network may take), and returns a Finding.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar, overload

from trenza.client.api import LabNode, RunningLab
from trenza.errors import TrenzaError
from trenza.pytest_plugin.finding import Finding
from trenza.pytest_plugin.wish import several

T = TypeVar("T")

Address = IPv4Address | IPv6Address
Spot = str | Address
"""A node, NODE.NIC, or an address."""

Traffic = Mapping[str, Mapping[str, Any]]
"""What goes on while one looks: `{"ping": {"from": "c1", "to": "c2"}}`."""

Data = Mapping[str, Any]


class Lab:
    """A lab that runs for a test. `running` is what `trenza.up` returns; `missing` hears what this machine lacks."""

    def __init__(self, running: RunningLab, missing: Callable[[TrenzaError], None]) -> None:
        self.running = running
        self.failed: list[Finding] = []
        """What assertions found wrong."""
        self._missing = missing

    @property
    def name(self) -> str:
        """The name under which it runs: `trenza sh NODE --lab NAME` while a debugger holds the test."""
        return self.running.name

    # ------------------------------------------------------------------ nodes
    def node(self, name: str) -> LabNode:
        """A node: its files, its services' words, stop and start."""
        return self.running[name]

    def nodes(self) -> list[str]:
        """Full names of all nodes."""
        return self.running.nodes()

    def exec(
        self, node: str, argv: Sequence[str], *, input: str = "", user: str | None = None, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a node and wait for it; with `check`, CalledProcessError if its status is not 0."""
        __tracebackhide__ = True
        done = self._clean(lambda: self.running[node].run(argv, stdin=input.encode(), user=user, check=False))
        result = subprocess.CompletedProcess(list(argv), done.status, done.stdout, done.stderr)
        if check:
            result.check_returncode()
        return result

    def events(self) -> list[dict[str, Any]]:
        """The journal since the lab came up."""
        return self.running.events()

    def show(self, what: str = "nodes", *nodes: str) -> dict[str, Any]:
        """What `trenza show WHAT NODES -f json` prints."""
        return self.running.show(what, nodes)

    # ------------------------------------------------------------------ asking
    def ask(self, kind: str, /, *, within: float | None = None, **keys: Any) -> Finding:
        """One check of any kind; raises AssertionError saying what is wrong, unless it passes."""
        __tracebackhide__ = True
        check = {kind: _written(keys), **({} if within is None else {"within": within})}
        finding = self._clean(lambda: Finding(self.running.ask(check)))
        if not finding.passed:
            self._fail(finding.explained(), finding)
        return finding

    def check(self) -> dict[str, Any]:
        """All checkpoints of the lab file pass: what `trenza check -f json` prints."""
        __tracebackhide__ = True
        return self._checked(None)

    def checkpoint(self, name: str) -> dict[str, Any]:
        """One checkpoint of the lab file passes, by its name or number: its part of `check`."""
        __tracebackhide__ = True
        checkpoint: dict[str, Any] = self._checked(name)["checkpoints"][0]
        return checkpoint

    def _checked(self, name: str | None) -> dict[str, Any]:
        __tracebackhide__ = True
        report = self._clean(lambda: self.running.check(name))
        wrong = {
            checkpoint["name"]: [Finding(one) for one in checkpoint["checks"] if one["verdict"] != "pass"]
            for checkpoint in report["checkpoints"]
            if checkpoint["verdict"] != "pass" and checkpoint["checks"]
        }
        if wrong:
            lines = [f"{checkpoint}: {one.explained()}" for checkpoint, found in wrong.items() for one in found]
            self._fail("\n".join(lines), *(one for found in wrong.values() for one in found))
        return report

    def _fail(self, message: str, *findings: Finding) -> NoReturn:
        __tracebackhide__ = True
        self.failed += findings
        raise AssertionError(message)

    def _clean(self, work: Callable[[], T]) -> T:
        """What some work returns; its errors as they are, without the way that they took through trenza."""
        __tracebackhide__ = True
        try:
            return work()
        except TrenzaError as error:
            self._missing(error)
            raise error.with_traceback(None) from None

    # ------------------------------------------------------------------ echoes and ways
    def ping(
        self, from_: str, to: Spot, *, count: int | None = None, size: int | None = None, within: float | None = None
    ) -> Finding:
        """Echoes get there and back; `size` bytes is the whole IP packet."""
        __tracebackhide__ = True
        return self.ask("ping", from_=from_, to=to, count=count, size=size, within=within)

    def no_ping(self, from_: str, to: Spot, *, count: int | None = None, within: float | None = None) -> Finding:
        """No echo gets there and back, though both ends live."""
        __tracebackhide__ = True
        return self.ask("no_ping", from_=from_, to=to, count=count, within=within)

    def ping_all(self, *among: str, within: float | None = None) -> Finding:
        """Echoes get from each to each other."""
        __tracebackhide__ = True
        return self.ask("ping_all", among=among, within=within)

    def path(
        self,
        from_: str,
        to: Spot,
        hops: Sequence[Spot] | None = None,
        *,
        record_route: Sequence[Spot] | None = None,
        within: float | None = None,
    ) -> Finding:
        """The hops that packets take, as traceroute shows them, the target the last."""
        __tracebackhide__ = True
        return self.ask("path", from_=from_, to=to, hops=hops, record_route=record_route, within=within)

    def mtu(self, from_: str, to: Spot, bytes: int, *, within: float | None = None) -> Finding:
        """The largest IP packet that gets there whole."""
        __tracebackhide__ = True
        return self.ask("mtu", from_=from_, to=to, bytes=bytes, within=within)

    def route(
        self,
        node: str,
        to: Spot,
        *,
        via: Spot | None = None,
        dev: str | None = None,
        type: str | None = None,
        within: float | None = None,
    ) -> Finding:
        """What a node's kernel does with packets to an address."""
        __tracebackhide__ = True
        return self.ask("route", node=node, to=to, via=via, dev=dev, type=type, within=within)

    # ------------------------------------------------------------------ services
    def http(
        self,
        from_: str,
        to: str,
        *,
        status: int | None = None,
        body: str | None = None,
        served_by: Sequence[str] | Mapping[str, float] | None = None,
        requests: int | None = None,
        tolerance: float | None = None,
        affinity: bool | None = None,
        within: float | None = None,
    ) -> Finding:
        """A page (`http://HOST:PORT/PATH`) is answered; by whom, with which shares of the requests."""
        __tracebackhide__ = True
        return self.ask(
            "http", from_=from_, to=to, status=status, body=body, served_by=served_by, requests=requests,
            tolerance=tolerance, affinity=affinity, within=within,
        )  # fmt: skip

    def tcp(self, from_: str, to: Spot, port: int, *, open: bool | None = None, within: float | None = None) -> Finding:
        """A connection is accepted; with `open=False` it is not, though both ends live."""
        __tracebackhide__ = True
        return self.ask("tcp", from_=from_, to=to, port=port, open=open, within=within)

    def dns(
        self,
        from_: str,
        name: str,
        *,
        type: str | None = None,
        server: Spot | None = None,
        answers: str | Sequence[str] | None = None,
        within: float | None = None,
    ) -> Finding:
        """A name is answered; with these records."""
        __tracebackhide__ = True
        return self.ask("dns", from_=from_, name=name, type=type, server=server, answers=answers, within=within)

    def dhcp(
        self,
        at: str,
        *,
        network: str | None = None,
        server: Spot | None = None,
        router: Spot | None = None,
        within: float | None = None,
    ) -> Finding:
        """A DHCP server offers an address at an interface."""
        __tracebackhide__ = True
        return self.ask("dhcp", at=at, network=network, server=server, router=router, within=within)

    def service(
        self, node: str, runs: str, *, port: int | Sequence[int] | None = None, within: float | None = None
    ) -> Finding:
        """A program runs in a node, and accepts connections at its ports."""
        __tracebackhide__ = True
        return self.ask("service", node=node, runs=runs, port=port, within=within)

    def run(
        self,
        node: str,
        argv: Sequence[str],
        *,
        status: int | None = None,
        output: str | None = None,
        within: float | None = None,
    ) -> Finding:
        """A command ends with a status and prints a pattern: repeated until it does. `exec` runs one once."""
        __tracebackhide__ = True
        return self.ask("run", node=node, argv=argv, status=status, output=output, within=within)

    def kubernetes(
        self,
        kind: str,
        *,
        name: str | None = None,
        namespace: str | None = None,
        labels: str | None = None,
        node: str | None = None,
        condition: str | None = None,
        has: Mapping[str, str | int | float | bool] | None = None,
        endpoints: int | None = None,
        count: int | None = None,
        at_least: int | None = None,
        within: float | None = None,
    ) -> Finding:
        """Objects of the lab's cluster: a condition (`Ready`), fields, how many addresses serve them, how many."""
        __tracebackhide__ = True
        return self.ask(
            "kubernetes", kind=kind, name=name, namespace=namespace, labels=labels, node=node, condition=condition,
            has=has, endpoints=endpoints, count=count, at_least=at_least, within=within,
        )  # fmt: skip

    # ------------------------------------------------------------------ tables
    def stp(
        self,
        *,
        root: str | None = None,
        blocked: int | str | Sequence[str] | None = None,
        members: Sequence[str] | None = None,
        like: str | None = None,
        within: float | None = None,
    ) -> Finding:
        """The spanning tree has converged: root, how many or which ports block, who takes part, `like="theory"`."""
        __tracebackhide__ = True
        return self.ask("stp", root=root, blocked=blocked, members=members, like=like, within=within)

    def fdb(
        self,
        bridge: str,
        *,
        has: Sequence[Spot] | None = None,
        lacks: Sequence[Spot] | None = None,
        count: int | None = None,
        only: bool | None = None,
        during: Traffic | None = None,
        within: float | None = None,
    ) -> Finding:
        """The MAC addresses that a bridge has learnt, by whose they are."""
        __tracebackhide__ = True
        return self.ask(
            "fdb", bridge=bridge, has=has, lacks=lacks, count=count, only=only, during=during, within=within
        )

    def arp(
        self, node: str, ip: Spot, is_: str, *, during: Traffic | None = None, within: float | None = None
    ) -> Finding:
        """Whose MAC address a node has for an address."""
        __tracebackhide__ = True
        return self.ask("arp", node=node, ip=ip, is_=is_, during=during, within=within)

    def owner(self, of: Spot, seen_from: str, is_: str, *, within: float | None = None) -> Finding:
        """Who answers ARP for an address, and nobody else does, as a node sees it."""
        __tracebackhide__ = True
        return self.ask("owner", of=of, seen_from=seen_from, is_=is_, within=within)

    def netns(self, node: str, name: str, *, is_: str | None = None, within: float | None = None) -> Finding:
        """A name below /run/netns of a host means a container's network namespace."""
        __tracebackhide__ = True
        return self.ask("netns", node=node, name=name, is_=is_, within=within)

    def no_ip(self, nic: str, *, within: float | None = None) -> Finding:
        """An interface has no address of its own."""
        __tracebackhide__ = True
        return self.ask("no_ip", nic=nic, within=within)

    # ------------------------------------------------------------------ frames
    def seen(
        self,
        at: str,
        frames: str,
        during: Traffic,
        *,
        src: Spot | None = None,
        dst: Spot | None = None,
        count: int | None = None,
        within: float | None = None,
    ) -> Finding:
        """Frames are seen somewhere (NODE.NIC, a switch, a cable, a node) while there is traffic."""
        __tracebackhide__ = True
        return self.ask("seen", at=at, frames=frames, during=during, src=src, dst=dst, count=count, within=within)

    def not_seen(
        self,
        at: str,
        frames: str,
        during: Traffic,
        *,
        src: Spot | None = None,
        dst: Spot | None = None,
        within: float | None = None,
    ) -> Finding:
        """None of these frames is seen, though the traffic succeeds."""
        __tracebackhide__ = True
        return self.ask("not_seen", at=at, frames=frames, during=during, src=src, dst=dst, within=within)

    # ------------------------------------------------------------------ faults
    @overload
    def fault(
        self,
        break_: str,
        *,
        delay: str | None = None,
        jitter: str | None = None,
        loss: str | None = None,
        corrupt: str | None = None,
        rate: str | None = None,
    ) -> Fault: ...

    @overload
    def fault(
        self,
        break_: str,
        *,
        probe: str | Sequence[str],
        at_most: float | None = None,
        like: str | None = None,
        checks: Sequence[Data] | None = None,
        within: float | None = None,
    ) -> Finding: ...

    @overload
    def fault(self, break_: str, *, checks: Sequence[Data], within: float | None = None) -> Finding: ...

    def fault(
        self,
        break_: str,
        *,
        probe: str | Sequence[str] | None = None,
        at_most: float | None = None,
        like: str | None = None,
        checks: Sequence[Data] | None = None,
        within: float | None = None,
        **impairment: str | None,
    ) -> Fault | Finding:
        """Break something now, in the words of `trenza fault`; as a context manager it is mended at the end.

        With `probe` or `checks` it is the check of that kind: broken, asked, mended, and its finding returned.
        """
        __tracebackhide__ = True
        if probe is None and checks is None:
            options = {name: value for name, value in impairment.items() if value is not None}
            return self._clean(lambda: Fault(self.running, break_, options))
        return self.ask(
            "fault", break_=break_, probe=probe, at_most=at_most, like=like, checks=checks, within=within, **impairment
        )

    def outage(
        self, break_: str, probe: str | Sequence[str], *, deadline: str | None = None, **impairment: str
    ) -> dict[str, Any]:
        """Measure what a fault does to probes, and mend it: the report as `trenza outage -f json` prints it."""
        __tracebackhide__ = True
        return self._clean(lambda: self.running.outage(break_, several(probe), deadline=deadline, **impairment))


class Fault:
    """A fault in effect; at the end of its `with` block, by `heal()`, or with the test, it is mended."""

    def __init__(self, lab: RunningLab, words: str, options: Mapping[str, str]) -> None:
        self._lab = lab
        self.report = lab.fault(words, **options)
        """What `trenza fault -f json` prints of it."""

    def heal(self) -> None:
        """Mend it, if nobody else did."""
        if any(one["id"] == self.report["id"] for one in self._lab.show("faults")["faults"]):
            self._lab.heal(self.report["id"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.heal()


def _written(value: Any) -> Any:
    """Keys as a lab file writes them; those that were not given are left out."""
    match value:
        case Mapping():
            return {str(name).rstrip("_"): _written(one) for name, one in value.items() if one is not None}
        case list() | tuple() | set() | frozenset():
            return [_written(one) for one in value]
        case _:
            return value
