"""The cluster of a lab: its hosts looked up, its networks held against those of the lab, its etcd members services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from trenza.model.cluster import ETCD, ETCD_PEER_PORT, ETCD_PORT, MANIFESTS, PODS, SERVICES, Cluster, Member
from trenza.model.lab import FileSpec, NodeSpec
from trenza.model.names import NodeName
from trenza.model.services import RunService
from trenza.model.state import NodeKind, Ready, Restart
from trenza.spec.decode import Decoded, Given
from trenza.spec.drafts import Drafts
from trenza.spec.report import Report, Word, meant
from trenza.spec.tree import Place

_DEFAULT_SUBNETS = 24


def cluster_of(
    record: Decoded | None, drafts: Drafts, nodes: Sequence[NodeSpec], report: Report, *, has_etcd: bool
) -> Cluster | None:
    """The cluster, or None where there is none or something is wrong with it, which is said."""
    return None if record is None else _Reader(record, drafts, nodes, report).cluster(has_etcd)


def with_etcd(nodes: Sequence[NodeSpec], cluster: Cluster | None) -> tuple[NodeSpec, ...]:
    """The nodes, those that hold the store with etcd among their services."""
    members = {} if cluster is None else {member.node: member for member in cluster.etcd}
    initial = ",".join(f"{node}=http://{member.address}:{ETCD_PEER_PORT}" for node, member in members.items())
    return tuple(
        replace(node, services=(*node.services, _etcd(members[node.name], initial)))
        if node.name in members and not any(isinstance(one, RunService) and one.name == "etcd" for one in node.services)
        else node
        for node in nodes
    )


def with_manifests(nodes: Sequence[NodeSpec], cluster: Cluster | None, record: Decoded | None) -> tuple[NodeSpec, ...]:
    """The nodes, the master with the manifests among its files: a directory of objects that are to be there."""
    if cluster is None or record is None:
        return tuple(nodes)
    files = tuple(FileSpec(f"{MANIFESTS}/{source}", source=source) for source in record.texts("manifests"))
    return tuple(
        replace(node, files=(*node.files, *files)) if node.name == cluster.master.node else node for node in nodes
    )


def _etcd(member: Member, initial_cluster: str) -> RunService:
    """etcd as a service; corruption is looked for every two seconds, since nothing else finds it (etcd 3.4)."""
    peer = f"http://{member.address}:{ETCD_PEER_PORT}"
    argv = (
        ETCD, "--name", member.node, "--data-dir", "/var/lib/etcd/default",
        "--listen-client-urls", f"http://0.0.0.0:{ETCD_PORT}",
        "--advertise-client-urls", f"http://{member.address}:{ETCD_PORT}",
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", initial_cluster, "--experimental-corrupt-check-time", "2s",
    )  # fmt: skip
    return RunService(name="etcd", argv=argv, ready=Ready(tcp=ETCD_PORT), restart=Restart.ON_FAILURE)


class _Reader:
    def __init__(self, record: Decoded, drafts: Drafts, nodes: Sequence[NodeSpec], report: Report) -> None:
        self._record = record
        self._drafts = drafts
        self._addresses = {node.name: _address(node) for node in nodes}
        self._networks = [address.network for node in nodes for address in _addresses(node)]
        self._report = report

    def cluster(self, has_etcd: bool) -> Cluster | None:
        record = self._record
        master = self._member(record.text("master"), record.place("master"))
        nodes = self._members("nodes")
        given = self._members("etcd")
        store = record.text("store") or ("etcd" if given else "embedded")
        pods = self._network("pods", PODS)
        services = self._network("services", SERVICES)
        self._say_overlaps(pods, services)
        if master is None or any(member is None for member in (*nodes, *given)) or not nodes:
            return None
        etcd = tuple(member for member in given if member is not None)
        if store == "etcd" and not has_etcd:
            self._report.say("W018", record.place("store" if record.text("store") else "etcd"), ("get_etcd", {}))
            store = "embedded"
        return Cluster(
            master=master,
            nodes=tuple(member for member in nodes if member is not None),
            pods=pods,
            services=services,
            overlay=record.text("overlay") or "vxlan",
            etcd=() if store == "embedded" else etcd or (master,),
            **{
                name: value
                for name, option in (("heartbeat_s", "heartbeat"), ("grace_s", "grace"), ("eviction_s", "eviction"))
                if (value := record.number(option)) is not None
            },
        )

    def _members(self, option: str) -> tuple[Member | None, ...]:
        return tuple(self._member(str(given.value), given.at) for given in self._record.many(option))

    def _member(self, name: str | None, at: Place) -> Member | None:
        """A host of the lab and its address; says so where there is none."""
        if name is None:
            return None
        hosts = {draft.name: draft for draft in self._drafts if draft.kind is NodeKind.HOST}
        if NodeName(name) not in hosts:
            hint = meant(name, hosts, "hosts")
            self._report.say("E014", at, hint, kind=Word("host"), name=name, where=Word("this lab"))
            return None
        address = self._addresses.get(NodeName(name))
        if address is None:
            self._report.say("E064", at, None, name=name)
            return None
        return Member(NodeName(name), address)

    def _network(self, option: str, default: IPv4Network) -> IPv4Network:
        given: Given | None = self._record.values.get(option)
        if given is None:
            return default
        if isinstance(given.value, IPv4Network) and given.value.prefixlen < _DEFAULT_SUBNETS:
            return given.value
        self._report.say("E065", given.at, None, name=option)
        return default

    def _say_overlaps(self, pods: IPv4Network, services: IPv4Network) -> None:
        """A pod's or service's address must be nobody else's."""
        if pods.overlaps(services):
            self._report.say("E066", self._record.place("services"), None, one=services, other=pods)
        for option, network in (("pods", pods), ("services", services)):
            for other in self._networks:
                if network.overlaps(other):
                    self._report.say("E066", self._record.place(option), None, one=network, other=other)
                    break


def _addresses(node: NodeSpec) -> list[IPv4Interface]:
    faces = [*(nic.addresses for nic in node.nics), *(bridge.addresses for bridge in node.bridges)]
    return [address for addresses in faces for address in addresses if isinstance(address, IPv4Interface)]


def _address(node: NodeSpec) -> IPv4Address | None:
    return next((address.ip for address in _addresses(node)), None)
