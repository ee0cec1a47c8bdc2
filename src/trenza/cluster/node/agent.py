"""The agent of a host: keeps its node registered, its overlay, its rules and its name server current, its pods running.

One asyncio loop, a task for each of these. None of them ends for an error of the others': while the API server cannot
be reached, everything stays as it is.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from trenza.cluster.api import ENDPOINT_SLICES, LEASES, NODES, PODS, SERVICES, Api, ApiError, Object, SubnetLease
from trenza.cluster.client import HttpApi, client_context
from trenza.cluster.node import dns, overlay, proxy
from trenza.cluster.node.batches import batches, most_bytes
from trenza.cluster.node.cache import Cache, Changed, Key
from trenza.cluster.node.containers import Containers
from trenza.cluster.node.dns import ResolvConf, Zone
from trenza.cluster.node.docker0 import masquerade, wanted_bridge
from trenza.cluster.node.endpoint import PORT, Endpoint, server_context
from trenza.cluster.node.events import Events
from trenza.cluster.node.host_ports import host_ports
from trenza.cluster.node.kubelet import Host, Kubelet, PodWorker
from trenza.cluster.node.launch import hold
from trenza.cluster.node.network import HostNetwork, HostNic, host_nic_name
from trenza.cluster.node.node_object import LEASE_NAMESPACE, lease_object, node_object, node_status
from trenza.cluster.node.overlay import Lease, OverlayConfig
from trenza.cluster.node.pods import Event, Settings
from trenza.cluster.node.proxy import Endpoint as Backend
from trenza.cluster.node.proxy import Network, Ruleset, ServicePort
from trenza.cluster.node.record import Records
from trenza.cluster.node.resolver import Resolver
from trenza.cluster.node.settings import NodeSettings
from trenza.errors import KernelError, TrenzaError
from trenza.linux.netns import Home
from trenza.model.names import NodeName
from trenza.model.state import Node, NodeKind

DNS_SERVICE: Final = ("kube-system", "kube-dns")
_SERVICE, _DNS, _HOST_PORT = range(3)
"""The ranks of who owns rules: a pod's port of this host is its own, whatever Services want."""
_RETRY_S: Final = 0.5
_STATUS_EVERY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Joined:
    """The overlay as this host has joined it."""

    config: OverlayConfig
    lease: Lease
    nic: HostNic
    mtu_bytes: int


@dataclass(slots=True)
class PodAddresses:
    """Gives pods their interfaces and addresses (`kubelet.PodNetwork`): the next free one, as docker does."""

    host: HostNetwork
    dns: IPv4Address
    joined: Joined | None = None
    problem: str = "the overlay is not there yet"
    taken: dict[str, IPv4Address] = field(default_factory=dict)
    last: int = 1
    host_resolv_conf: Callable[[], str] = lambda: ""

    def connect(self, uid: str, pause_pid: int) -> str:
        joined = self.joined
        if joined is None:
            raise KernelError(self.problem)
        address = self._next(joined.lease)
        descriptor = os.open(f"/proc/{pause_pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            interface = IPv4Interface((address, joined.lease.subnet.prefixlen))
            gateway = joined.lease.gateway.ip
            self.host.connect_pod(descriptor, host_nic_name(uid), interface, gateway, joined.mtu_bytes)
        finally:
            os.close(descriptor)
        self.taken[uid] = address
        return str(address)

    def _next(self, lease: Lease) -> IPv4Address:
        count = lease.subnet.num_addresses
        used = set(self.taken.values())
        for offset in range(1, count):
            number = (self.last + offset) % count
            address = lease.subnet.network_address + number
            if 2 <= number < count - 1 and address not in used:
                self.last = number
                return address
        raise KernelError(f"no address of {lease.subnet} is free")

    def keep(self, uid: str, address: str) -> None:
        self.taken[uid] = IPv4Address(address)

    def disconnect(self, uid: str, address: str) -> None:
        self.host.disconnect_pod(host_nic_name(uid))
        self.taken.pop(uid, None)

    def resolv_conf(self, pod: Object) -> str:
        return str(dns.resolv_conf(pod, self.dns, ResolvConf.read(self.host_resolv_conf())))


class Agent:
    """One host's agent, made in a running loop. `run` ends only by being ended."""

    def __init__(self, settings: NodeSettings, sandbox_netns: int, api: Api | None = None) -> None:
        self.settings = settings
        self._lock = hold(Path(settings.directory))
        name = NodeName(settings.node)
        self.network = HostNetwork(Node(name, NodeKind.HOST, None, settings.node))
        first_id = 0 if settings.single_id else 1
        self.containers = Containers(
            settings.node, settings.host_pid, sandbox_netns, first_id=first_id, init_adopts=settings.init_adopts
        )
        self.home = Home()
        tls = settings.tls
        context = None if tls is None else client_context(tls.ca, tls.certificate, tls.key)
        self.api: Api = HttpApi(settings.api, tls=context) if api is None else api
        self.addresses = PodAddresses(self.network, settings.dns, host_resolv_conf=self._host_resolv_conf)
        self.events = Events(self.api, settings.node)
        self.nic = self._own_nic()
        lab = Settings(
            str(self.nic.address.ip), settings.backoff_s, settings.max_backoff_s, min(2.0, settings.backoff_s),
            settings.images,
        )  # fmt: skip
        self.services = Cache(self.api, SERVICES, self._service_changed)
        self.slices = Cache(self.api, ENDPOINT_SLICES, self._slice_changed)
        self.pods = Cache(self.api, PODS, self._pod_changed, field_selector=f"spec.nodeName={settings.node}")
        self.kubelet = Kubelet(
            Host(settings.node, lab), self.api, self.containers, self.addresses,
            Records(Path(settings.directory) / "pods"), self.events, lambda: tuple(self.services.objects.values()),
        )  # fmt: skip
        self.resolver = Resolver(self._zone, lambda: ResolvConf.read(self._host_resolv_conf()).servers)
        self.endpoint = Endpoint(self.kubelet, self._pod_socket)
        self._served: dict[proxy.Owner, tuple[ServicePort, ...]] = {}
        self._slices_of: dict[Key, dict[Key, Object]] = {}
        self._host_ports: dict[Key, tuple[ServicePort, ...]] = {}
        self._stale: set[Key] = set()
        self._stale_pods: set[Key] = set()  # whose host ports have changed
        self._rules_wanted = asyncio.Event()
        self._rules: Ruleset | None = None
        self._known_zone: Zone | None = None
        self._subnets: dict[str, Lease] = {}
        self._bridged_seen = False
        self._news = asyncio.Event()
        """Something that the node's status tells has changed."""
        self._node_uid = ""
        self._node_said: dict[str, Any] = {}

    def _own_nic(self) -> HostNic:
        """The interface by which this host reaches the API server, else the first that has an address."""
        nics = self.network.nics()
        if not nics:
            raise TrenzaError(f"{self.settings.node} has no address: a cluster's host needs one")
        server = urlsplit(self.settings.api).hostname or ""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.connect((server, 9))
                source = sock.getsockname()[0]
            except OSError:
                return nics[0]
        return next((nic for nic in nics if str(nic.address.ip) == source), nics[0])

    def _host_resolv_conf(self) -> str:
        return self.containers.read("/etc/resolv.conf").decode(errors="replace")

    async def run(self) -> None:
        """Do all of it, for ever."""
        self.kubelet.adopt()
        tls = self.settings.tls
        context = None if tls is None else server_context(tls.ca, tls.certificate, tls.key)
        await self.endpoint.serve("0.0.0.0", PORT, context)
        async with asyncio.TaskGroup() as group:
            for work in (self.services.run, self.slices.run, self.pods.run, self.events.run, self._settle_pods):
                group.create_task(self._lasting(work))
            for work in (self._keep_registered, self._keep_overlay, self._keep_rules):
                group.create_task(self._lasting(work))

    async def _lasting(self, work: Callable[[], Awaitable[None]]) -> None:
        """A task that an error does not end: it is said, once while it stays the same, and the work begins again."""
        said = ""
        while True:
            try:
                await work()
                return
            except (TrenzaError, OSError) as error:
                words = f"{work.__name__}: {error}"
            except Exception:  # the root of a task: it reports, and the others go on
                words = traceback.format_exc()
            if words != said:
                print(words, file=sys.stderr, flush=True)
            said = words
            await asyncio.sleep(_RETRY_S)

    # ------------------------------------------------------------------ the node
    async def _keep_registered(self) -> None:
        """Register, then heartbeat; register again if somebody deleted the node."""
        settings = self.settings
        while True:
            await self._register()
            said_s = beaten_s = 0.0
            while True:
                now_s = time.time()
                if now_s - beaten_s > settings.lease_s / 2:
                    said_s = 0.0  # somebody may have taken us for dead, and said so
                try:
                    # First the heartbeat: a status that comes before it would be taken back at once.
                    await self._heartbeat(now_s)
                    await self._say_status(now_s, anyhow=now_s - said_s >= _STATUS_EVERY_S)
                    said_s = said_s if now_s - said_s < _STATUS_EVERY_S else now_s
                    beaten_s = now_s
                except ApiError as error:
                    if error.status == 404:
                        break
                    await asyncio.sleep(min(_RETRY_S, settings.heartbeat_s))
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(settings.heartbeat_s):
                        await self._news.wait()
                self._news.clear()

    async def _say_status(self, now_s: float, *, anyhow: bool) -> None:
        status = self._status(now_s)
        if not anyhow and _without_heartbeats(status) == _without_heartbeats(self._node_said):
            return
        ready = {one["type"]: one["status"] for one in self._node_said.get("conditions") or ()}.get("Ready")
        node = await self.api.patch(NODES, "", self.settings.node, {"status": status}, subresource="status")
        self._node_said = status
        if ready != "True" and not self.addresses.problem:
            words = f"Node {self.settings.node} status is now: NodeReady"
            self.events.say({**node, "kind": "Node", "apiVersion": "v1"}, Event("Normal", "NodeReady", words))

    async def _register(self) -> None:
        settings = self.settings
        made = node_object(settings.node, settings.labels)
        try:
            node = await self.api.create(NODES, made)
        except ApiError as error:
            if error.status != 409:
                raise
            labels = {"metadata": {"labels": made["metadata"]["labels"]}}
            node = await self.api.patch(NODES, "", settings.node, labels)
        self._node_uid = node["metadata"].get("uid", "")
        self._node_said = node.get("status") or {}

    def _status(self, now_s: float) -> dict[str, Any]:
        return node_status(
            self.settings.node, str(self.nic.address.ip), problem=self.addresses.problem,
            images=tuple(sorted({*self.settings.images, "host"})), before=self._node_said, now_s=now_s,
        )  # fmt: skip

    async def _heartbeat(self, now_s: float) -> None:
        lease = lease_object(self.settings.node, self._node_uid, self.settings.lease_s, now_s)
        try:
            await self.api.patch(LEASES, LEASE_NAMESPACE, self.settings.node, {"spec": lease["spec"]})
        except ApiError as error:
            if error.status != 404:
                raise
            await self.api.create(LEASES, lease)

    # ------------------------------------------------------------------ the overlay
    async def _keep_overlay(self) -> None:
        """Hold a subnet, and have the host's network follow everybody's leases."""
        settings, api = self.settings, self.api
        config = overlay.read_config(await api.leases.config())
        problem = overlay.overlap_words(config, [nic.address for nic in self.network.nics()])
        if problem is not None:
            self.addresses.problem = problem
            self._news.set()
            raise TrenzaError(problem)
        revision = await self._read_leases()
        mac = overlay.vtep_mac(settings.lab, settings.node, config.nic)
        own = overlay.own_lease(
            config, self._subnets.values(), self.nic.address.ip, mac, seed=f"{settings.lab}/{settings.node}"
        )  # fmt: skip
        await api.leases.put(own.key, own.as_json(), ttl_s=overlay.LEASE_S, create=own.key not in self._subnets)
        self._subnets[own.key] = own
        joined = Joined(config, own, self.nic, config.pod_mtu_bytes(self.nic.mtu_bytes))
        await self._join(joined)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._renew(own))
                group.create_task(self._resync(joined))
                group.create_task(self._follow_leases(joined, revision))
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from None

    async def _join(self, joined: Joined) -> None:
        config, own = joined.config, joined.lease
        self._bridged_seen = self.network.see_bridged()
        self._apply(joined)
        await self.network.say(masquerade(own.subnet, config.network))
        text = overlay.subnet_env(config, own, mtu_bytes=joined.mtu_bytes)
        self.containers.write(overlay.SUBNET_ENV, text.encode())
        if self.addresses.joined is None:
            await self.resolver.serve(str(own.gateway.ip))
        self.addresses.joined = joined
        self.addresses.problem = ""
        self._news.set()
        self._rules_wanted.set()
        self.kubelet.wake_all()

    def _apply(self, joined: Joined) -> None:
        """Make the host's links, routes and neighbours what the leases say."""
        config, own = joined.config, joined.lease
        name = self.network.node
        things = [
            *wanted_bridge(name, own, self.settings.services, mtu_bytes=joined.mtu_bytes),
            *overlay.wanted_overlay(
                name, config, own, self._subnets.values(), nic=joined.nic.name, mtu_bytes=joined.mtu_bytes
            ),
        ]  # fmt: skip
        self.network.become(things, config.network, config.nic)

    async def _renew(self, own: Lease) -> None:
        while True:
            await asyncio.sleep(overlay.LEASE_S - overlay.RENEW_BEFORE_S)
            while True:
                try:
                    await self.api.leases.put(own.key, own.as_json(), ttl_s=overlay.LEASE_S, create=False)
                    break
                except ApiError:
                    await asyncio.sleep(self.settings.resync_s)

    async def _resync(self, joined: Joined) -> None:
        """Repair what somebody changed by hand."""
        while True:
            await asyncio.sleep(self.settings.resync_s)
            self._apply(joined)

    async def _follow_leases(self, joined: Joined, revision: int) -> None:
        """Apply every change of a lease; after a watch that ended, for whatever reason, all of them are read again."""
        while True:
            with suppress(ApiError):
                async for change in self.api.leases.watch(revision):
                    await self._heed(joined, change)
            await asyncio.sleep(_RETRY_S)
            with suppress(ApiError):
                revision = await self._read_leases()
                self._subnets.setdefault(joined.lease.key, joined.lease)
                self._apply(joined)

    async def _heed(self, joined: Joined, change: SubnetLease) -> None:
        lease = None if change.value is None else overlay.read_lease(change.subnet, change.value)
        own = joined.lease
        if change.subnet == own.key and (lease is None or lease.public_ip != own.public_ip):
            if lease is not None:
                raise TrenzaError(f"{lease.public_ip} has taken {own.subnet}, which was ours")
            await self.api.leases.put(own.key, own.as_json(), ttl_s=overlay.LEASE_S, create=True)
            return
        if lease is None:
            self._subnets.pop(change.subnet, None)
        else:
            self._subnets[change.subnet] = lease
        self._apply(joined)

    async def _read_leases(self) -> int:
        """All leases as they are; the revision from which a watch misses nothing."""
        found = await self.api.leases.subnets()
        leases = {
            one.subnet: overlay.read_lease(one.subnet, one.value) for one in found.leases if one.value is not None
        }
        self._subnets = {subnet: lease for subnet, lease in leases.items() if lease is not None}
        return found.revision

    # ------------------------------------------------------------------ services
    def _service_changed(self, change: Changed) -> None:
        self._mark_stale(change.key)

    def _slice_changed(self, change: Changed) -> None:
        for one in (change.before, change.now):
            owner = None if one is None else proxy.owner_of(one)
            if owner is not None:
                held = self._slices_of.setdefault(owner, {})
                held.pop(change.key, None)
                if one is change.now and one is not None:
                    held[change.key] = one
                if not held:
                    del self._slices_of[owner]
                self._mark_stale(owner)

    def _mark_stale(self, service: Key) -> None:
        self._stale.add(service)
        self._known_zone = None
        self._rules_wanted.set()

    async def _keep_rules(self) -> None:
        """Have the rules follow services and endpoints; what changes meanwhile is done together."""
        await self.services.listed.wait()
        await self.slices.listed.wait()
        loop = asyncio.get_running_loop()
        in_a_row, took_s = 0, 0.0
        while True:
            in_a_row = in_a_row + 1 if self._rules_wanted.is_set() else 0
            await self._rules_wanted.wait()
            if in_a_row > 1:  # it goes on and on: more of it at once costs less than each for itself
                await asyncio.sleep(min(_RETRY_S, in_a_row * took_s))
            began_s = loop.time()
            self._rules_wanted.clear()
            if self.addresses.joined is None:
                continue
            wanted = self._wanted_rules(self.addresses.joined)
            held = self._rules
            self._rules = None  # until it is known to be so
            try:
                await self._change_rules(held, wanted)
            except KernelError as error:
                print(f"rules: {error.message}", file=sys.stderr, flush=True)
                await asyncio.sleep(_RETRY_S)
                self._rules_wanted.set()
                continue
            self._rules = wanted
            took_s = loop.time() - began_s

    async def _change_rules(self, held: Ruleset | None, wanted: Ruleset) -> None:
        for commands in batches(held, wanted, most_bytes()):
            await self.network.say(commands)
        if held is None or held.network != wanted.network:
            held = Ruleset(wanted.network)
        changed = [port for owner in proxy.differing(held, wanted) for port in self._served.get(owner, ())]
        udp = [port for port in changed if port.protocol == "udp"]
        if udp:
            self.network.forget(lambda flow: proxy.leads_astray(flow, udp, wanted.network))

    def _wanted_rules(self, joined: Joined) -> Ruleset:
        own = joined.lease
        network = Network(
            self.settings.node, joined.config.network, self.settings.services, own.subnet,
            tuple(sorted(self.network.addresses())), self._bridged_seen,
        )  # fmt: skip
        news = {(_SERVICE, *key): self._ports_of(key) for key in self._stale if key != DNS_SERVICE}
        news |= {(_HOST_PORT, *pod): self._host_ports.get(pod, ()) for pod in self._stale_pods}
        self._stale.clear()
        self._stale_pods.clear()
        self._served |= news
        for owner in [owner for owner, ports in news.items() if not ports]:
            del self._served[owner]
        if self._rules is not None and self._rules.network == network:
            return proxy.changed(self._rules, news)
        here = (Backend(own.gateway.ip, 53, True),)
        names = tuple(
            ServicePort(*DNS_SERVICE, name, protocol, self.settings.dns, 53, endpoints=here)
            for protocol, name in (("udp", "dns"), ("tcp", "dns-tcp"))
        )
        return proxy.ruleset(network, {**self._served, (_DNS, *DNS_SERVICE): names})

    def _ports_of(self, key: Key) -> tuple[ServicePort, ...]:
        service = self.services.objects.get(key)
        slices = list(self._slices_of.get(key, {}).values())
        return () if service is None else proxy.service_ports(service, slices, self.settings.node)

    def _zone(self) -> Zone:
        if self._known_zone is None:
            self._known_zone = dns.zone(self.services.objects.values(), self.slices.objects.values())
        return self._known_zone

    # ------------------------------------------------------------------ pods
    def _pod_changed(self, change: Changed) -> None:
        before, now = change.before, change.now
        if before is not None and (now is None or now["metadata"]["uid"] != before["metadata"]["uid"]):
            self.kubelet.remove(before["metadata"]["uid"])
        if now is not None:
            self.kubelet.update(now)
        self._host_ports_changed(change.key, now)

    def _host_ports_changed(self, pod: Key, now: Object | None) -> None:
        ports = () if now is None else tuple(host_ports(now))
        if ports == self._host_ports.get(pod, ()):
            return
        self._host_ports[pod] = ports
        if not ports:
            del self._host_ports[pod]
        self._stale_pods.add(pod)
        self._rules_wanted.set()

    async def _settle_pods(self) -> None:
        """Once the server has said which pods there are, end those of an agent before that it does not have."""
        await self.pods.listed.wait()
        self.kubelet.keep_only(frozenset(pod["metadata"]["uid"] for pod in self.pods.objects.values()))

    def _pod_socket(self, worker: PodWorker) -> socket.socket:
        """A TCP socket in a pod's network."""
        pid = self.containers.alive().get(worker.pause)
        if pid is None:
            raise KernelError("the pod has no network")
        descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with self.home.inside(descriptor):
                return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        finally:
            os.close(descriptor)


def _without_heartbeats(status: dict[str, Any]) -> Any:
    """A node's status without what changes by itself."""
    conditions = [
        {key: value for key, value in one.items() if key != "lastHeartbeatTime"} for one in status.get("conditions", ())
    ]
    return {**status, "conditions": conditions}
