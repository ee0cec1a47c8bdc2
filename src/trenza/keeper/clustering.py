"""The lab's Kubernetes cluster: its server and its nodes' agents are started, watched, and started again when they die.

They live in their hosts' pid and network namespaces and end with them; a keeper finds those of another by the locks
that they hold. What keys and embedded store there are lies in the lab's directory, which no node sees.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Container, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trenza.check.verdict import Said
from trenza.cluster.controllers.pods import is_ready
from trenza.engine.engine import Engine
from trenza.errors import TrenzaError, UsageError
from trenza.keeper.absent import Unanswered
from trenza.keeper.connection import Connection
from trenza.linux.inside import SandboxNodes
from trenza.linux.netns import Home
from trenza.linux.processes import signal_all
from trenza.model.cluster import AGENT, API_PORT, Cluster, Member
from trenza.model.cluster import SERVER as SERVER_NAME
from trenza.model.names import NodeName
from trenza.wire import Message

if TYPE_CHECKING:
    from trenza.cluster.api import ApiError
    from trenza.cluster.client import HttpApi
    from trenza.cluster.server.tls import Authority
    from trenza.keeper.reporter import Reporter

SERVER = "server"
READY_S = 20.0
_AGAIN_S = 0.5
_FAILED_AGAIN_S = 5.0
_LOCKED_S = 5.0
_ASK_AGAIN_S = 0.05
_DIAL_S = 5.0
_LOG_BYTES = 4 << 20
_AT_ONCE_S = 1.0


class Clustering:
    """Looks after the cluster of one lab, if it has one."""

    def __init__(
        self,
        engine: Engine,
        nodes: SandboxNodes,
        home: Home,
        directory: Path,
        ended: Callable[[], None],
        *,
        single_id: bool,
    ) -> None:
        """`ended` is called when the server or an agent has."""
        self._ended = ended
        self._engine = engine
        self._nodes = nodes
        self._home = home
        self._directory = directory / "cluster"
        self._single_id = single_id
        self._loop = asyncio.get_running_loop()
        self._watched: dict[str, tuple[int, int]] = {}
        """The pid and pidfd of what runs: of the server, and of the agents by their hosts' names."""
        self._starting: set[str] = set()
        self._making = threading.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reporter: Reporter | None = None
        self._is_new = False
        """Whether this keeper started the server: what is there is news then."""

    @property
    def cluster(self) -> Cluster | None:
        return None if self._engine.record is None else self._engine.lab.cluster

    # ------------------------------------------------------------------ starting and watching
    def attend(self) -> None:
        """See to it that everything runs that should, whose host is there."""
        cluster = self.cluster
        if cluster is None:
            return
        alive = self._nodes.alive()
        for what, host, name in _parts(cluster):
            handle = alive.get(host)
            if handle is None or handle.pid is None or what in self._starting:
                continue
            running = self._is_running(what)
            if (host, name) in self._broken(paused=False):
                if running and what in self._watched:  # it was on its way when the fault was injected
                    signal_all([self._watched[what][0]], signal.SIGKILL)
                continue
            if running:
                continue
            self._starting.add(what)
            self._is_new |= what == SERVER
            task = self._loop.create_task(self._bring(cluster, what, handle.pid))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._report(cluster)

    def processes(self, node: NodeName) -> dict[str, int | None]:
        """What of the cluster belongs to a node, by its name, and the pid of what runs."""
        from trenza.cluster.node.launch import find

        cluster = self.cluster
        parts = () if cluster is None else _parts(cluster)
        return {name: find(self._directory / what) for what, host, name in parts if host == node}

    @property
    def should_answer(self) -> bool:
        """Whether the API server should be: its host runs, and no fault keeps it from answering."""
        cluster = self.cluster
        return cluster is not None and self._should_run(cluster.master, SERVER_NAME)

    def _should_run(self, member: Member, name: str) -> bool:
        return member.node in self._nodes.alive() and (member.node, name) not in self._broken()

    def _broken(self, *, paused: bool = True) -> set[tuple[NodeName, str]]:
        """What faults keep from running, by host and name; with `paused`, also what they have stopped."""
        active = () if self._engine.faults is None else self._engine.faults.active
        resting = {(one.node, one.service) for fault in active for one in fault.resting}
        return resting | {pair for fault in active for pair in fault.paused} if paused else resting

    def _report(self, cluster: Cluster) -> None:
        """What becomes of its nodes, pods and services goes to the journal from now on."""
        from trenza.keeper.reporter import Reporter

        if self._reporter is not None and self._reporter.cluster == cluster:
            return
        if self._reporter is not None:
            self._reporter.end()
        self._reporter = Reporter(cluster, self.api(cluster), self._engine.journal, from_birth=self._is_new)

    async def _bring(self, cluster: Cluster, what: str, host_pid: int) -> None:
        """Start something, and watch it when it holds its lock."""
        journal, where = self._engine.journal, "" if what == SERVER else what
        try:
            await asyncio.to_thread(self._start, cluster, what, host_pid)
            journal.say("cluster", where, f"{_named(what)} was started", es=f"{_named_es(what)} ha arrancado")
            until = time.monotonic() + _LOCKED_S
            while not self._is_running(what) and time.monotonic() < until:
                await asyncio.sleep(_ASK_AGAIN_S)  # it has to open its directory first
            self._engine.hold_faults()
        except (TrenzaError, OSError) as error:
            journal.say("error", where, f"{_named(what)} was not started: {error}")
        finally:
            self._starting.discard(what)
        if what in self._watched:
            self.attend()
        else:  # it ended at once: its log says why
            self._loop.call_later(_FAILED_AGAIN_S, self.attend)

    def _authority(self) -> Authority:
        """Who vouches for everybody in the cluster; the first who asks has it made, before the server is there."""
        from trenza.cluster.server.tls import Authority

        directory = self._directory / SERVER
        with self._making:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Authority.kept_in(directory, datetime.now(UTC))

    def _is_running(self, what: str) -> bool:
        from trenza.cluster.node.launch import find

        pid = find(self._directory / what)
        if pid is None:
            return False
        if what not in self._watched or self._watched[what][0] != pid:
            self._watch(what, pid)
        return True

    def _watch(self, what: str, pid: int) -> None:
        self._forget(what)
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return
        self._watched[what] = (pid, descriptor)
        self._loop.add_reader(descriptor, self._see_end, what)

    def _forget(self, what: str) -> None:
        watched = self._watched.pop(what, None)
        if watched is not None:
            self._loop.remove_reader(watched[1])
            os.close(watched[1])

    def _see_end(self, what: str) -> None:
        self._forget(what)
        self._ended()
        where = "" if what == SERVER else what
        self._engine.journal.say("cluster", where, f"{_named(what)} has ended", es=f"{_named_es(what)} ha terminado")
        self._loop.call_later(_AGAIN_S, self.attend)

    def _start(self, cluster: Cluster, what: str, host_pid: int) -> None:
        from trenza.cluster.node.launch import start

        self._authority()
        directory = self._directory / what
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = os.open(directory / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(log).st_size > _LOG_BYTES:
                os.ftruncate(log, 0)
            if what == SERVER:
                from trenza.cluster.server.launched import MODULE

                settings = {"host_pid": host_pid, "directory": what, "arguments": self._arguments(cluster)}
                start(json.dumps(settings), self._directory, log, MODULE)
            else:
                member = next(one for one in cluster.nodes if one.node == what)
                start(json.dumps(self._agent(cluster, member, host_pid)), self._directory, log)
        finally:
            os.close(log)

    def _arguments(self, cluster: Cluster) -> list[str]:
        """The server's command line."""
        address = str(cluster.master.address)
        etcd = ",".join(member.etcd for member in cluster.etcd)
        return [
            "--listen", f"0.0.0.0:{API_PORT}", "--state", SERVER, "--address", address,
            "--pods", str(cluster.pods), "--services", str(cluster.services), "--overlay", cluster.overlay,
            "--cluster", self._engine.lab.name, "--node-grace", str(cluster.grace_s),
            "--eviction", str(round(cluster.eviction_s)), *(("--etcd", etcd) if etcd else ()),
        ]  # fmt: skip

    def _agent(self, cluster: Cluster, member: Member, host_pid: int) -> dict[str, Any]:
        """An agent's settings, its credentials written where they say."""
        paths = self._credentials(member.node, f"node {member.node}", member)
        return {
            "lab": self._engine.lab.name, "node": member.node, "host_pid": host_pid, "api": cluster.api,
            "directory": member.node, "pods": str(cluster.pods), "services": str(cluster.services),
            "dns": str(cluster.dns), "single_id": self._single_id, "tls": paths,
            "heartbeat_s": cluster.heartbeat_s, "lease_s": cluster.grace_s, "resync_s": 5.0, "backoff_s": 1.0,
        }  # fmt: skip

    # ------------------------------------------------------------------ credentials
    def _credentials(self, where: str, user: str, member: Member | None = None) -> dict[str, str]:
        """PEM files, from the cluster's directory: the authority's, a certificate and its key, made if missing."""
        from trenza.cluster.server.tls import write_private

        now, authority = datetime.now(UTC), self._authority()
        (self._directory / where).mkdir(mode=0o700, parents=True, exist_ok=True)
        paths = {"ca": f"{SERVER}/ca.crt", "certificate": f"{where}/own.crt", "key": f"{where}/own.key"}
        if not (self._directory / paths["certificate"]).exists():
            if member is not None:
                made = authority.node(member.node, (str(member.address),), now)
            else:
                made = authority.client(user, ("system:masters",), now)
            write_private(self._directory / paths["key"], made.key)
            write_private(self._directory / paths["certificate"], made.certificate)
        return paths

    def api(self, cluster: Cluster) -> HttpApi:
        """The API server, asked from its own host's network."""
        from trenza.cluster.client import HttpApi, client_context

        paths = {name: str(self._directory / path) for name, path in self._credentials("keeper", "trenza").items()}
        context = client_context(paths["ca"], paths["certificate"], paths["key"])

        async def dial() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await self._dial(cluster, context)

        return HttpApi(cluster.api, tls=context, connect=dial)

    async def _dial(
        self, cluster: Cluster, context: ssl.SSLContext
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        handle = self._nodes.alive().get(cluster.master.node)
        if handle is None:
            raise ConnectionRefusedError(f"{cluster.master.node} is not running")
        with self._home.inside(handle.netns):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            async with asyncio.timeout(_DIAL_S):
                await self._loop.sock_connect(sock, (str(cluster.master.address), API_PORT))
                return await asyncio.open_connection(
                    sock=sock, ssl=context, server_hostname=str(cluster.master.address)
                )
        except BaseException:
            sock.close()
            raise

    # ------------------------------------------------------------------ being ready
    async def ready(self) -> set[str]:
        """The nodes that are Ready now; none of a cluster that does not answer at once."""
        cluster = self.cluster
        if cluster is None or not self.should_answer:
            return set()
        api = self.api(cluster)
        try:
            async with asyncio.timeout(_AT_ONCE_S):
                return await _ready_nodes(api)
        except (TrenzaError, OSError):  # a TimeoutError is an OSError
            return set()
        finally:
            api.close()

    async def unready(self, deadline_s: float = READY_S, *, among: Container[str] | None = None) -> list[str]:
        """Wait until the server answers and every node is Ready, or every one `among` these; what is missing then."""
        cluster = self.cluster
        if cluster is None or not self.should_answer:
            return []
        wanted = {str(member.node) for member in cluster.nodes if self._should_run(member, AGENT)}
        wanted = {name for name in wanted if among is None or name in among}
        until = time.monotonic() + deadline_s
        missing = [f"{cluster.master.node}: the API server does not answer"]
        api = self.api(cluster)
        try:
            while True:
                try:
                    missing = [f"{name} is not Ready" for name in sorted(wanted - await _ready_nodes(api))]
                except (TrenzaError, OSError) as error:
                    missing = [f"{cluster.master.node}: {error}"]
                if not missing or time.monotonic() > until:
                    return missing
                await asyncio.sleep(_ASK_AGAIN_S)  # nodes register when they can reach the server
        finally:
            api.close()

    # ------------------------------------------------------------------ verbs
    def required(self) -> Cluster:
        cluster = self.cluster
        if cluster is None:
            raise UsageError(f"{self._engine.lab.name} has no cluster", hint="cluster: {master: …, nodes: […]}")
        return cluster

    def unanswered(self, error: ApiError | None = None) -> Unanswered:
        """That the API server does not answer, and why: its host, a fault, or what came of asking it."""
        master = self.required().master.node
        if master not in self._nodes.alive():
            said = Said(f"{master}, the master, is not running", f"{master}, el maestro, no está en marcha")
            return Unanswered(said, f"trenza start {master}")
        en, es = f"the API server of {master} does not answer", f"el servidor de la API de {master} no responde"
        for fault in () if self._engine.faults is None else self._engine.faults.active:
            rests = {(one.node, one.service) for one in fault.resting} | set(fault.paused)
            if (master, SERVER_NAME) in rests:
                said = Said(f"{en}: there is a fault, {fault.text}", f"{es}: hay una avería, {fault.text}")
                return Unanswered(said, f"trenza heal {fault.id}")
        cause = None if error is None else error.__cause__
        # asyncio puts the address where the reason was
        why = f": {os.strerror(cause.errno)}" if isinstance(cause, OSError) and cause.errno else ""
        return Unanswered(Said(en + why, es + why), f"trenza events --kind cluster; trenza logs {master}")

    async def kubeconfig(self, connection: Connection, message: Message) -> None:
        """A kubeconfig for somebody outside, who reaches the server at a port of the machine's loopback."""
        from trenza.cluster.server.tls import kubeconfig

        cluster, authority = self.required(), self._authority()
        made = authority.client("kubernetes-admin", ("system:masters",), datetime.now(UTC))
        name = self._engine.lab.name
        text = kubeconfig(
            name, f"https://127.0.0.1:{message['port']}", authority.pem, user="kubernetes-admin", credentials=made
        )
        connection.send({"result": {"kubeconfig": text, "node": cluster.master.node}})

    async def where(self, connection: Connection, message: Message) -> None:
        """Where the API server answers, as seen from the master."""
        cluster = self.required()
        connection.send(
            {"result": {"node": cluster.master.node, "host": str(cluster.master.address), "port": API_PORT}}
        )

    async def show(self, connection: Connection, message: Message) -> None:
        """Nodes, leases, pods and services as the server tells; with `service` what is done for that one, in words."""
        from trenza.cluster.api import ApiError
        from trenza.cluster.explained import explained

        cluster, language = self.required(), message.get("language") or "en"
        api = self.api(cluster)
        try:
            found: dict[str, Sequence[Any]] = dict.fromkeys(("nodes", "pods", "services", "slices"), ())
            leases: list[Message] = []
            store, problem = await self._store(cluster, api, language), None
            try:
                for kind in ("nodes", "pods", "services"):
                    found[kind] = (await api.list(f"v1/{kind}")).items
                found["slices"] = (await api.list("discovery.k8s.io/v1/endpointslices")).items
                leases = [{"subnet": one.subnet, "value": one.value} for one in (await api.leases.subnets()).leases]
            except ApiError as error:  # without its store the server still knows who of it is lost
                problem = error.message
        finally:
            api.close()
        if problem is not None and message.get("service"):
            raise UsageError(problem)
        if message.get("service"):
            names = str(message["namespace"]), str(message["service"])
            words = explained(cluster, found["services"], found["slices"], *names, language)
            connection.send({"result": {"service": "/".join(names), "words": words}})
            return
        connection.send({"result": {**found, "leases": leases, "store": store, "problem": problem}})

    async def _store(self, cluster: Cluster, api: HttpApi, language: str) -> Message:
        """The store's alarms, and of its members who each is and what is wrong with it.

        Raises KeeperError where nobody tells.
        """
        from trenza.cluster.api import ApiError
        from trenza.cluster.client import STORE

        try:
            if not self.should_answer:
                raise self.unanswered().in_language(language)
            status = await api.request("GET", STORE)
        except ApiError as error:
            if error.status:
                raise
            raise self.unanswered(error).in_language(language) from error
        hosts = {one.etcd: str(one.node) for one in cluster.etcd}
        members = [
            {"node": hosts.get(one["endpoint"], str(cluster.master.node)), "kind": "etcd" if hosts else "embedded",
             "leader": one["leader"], "bytes": one["database_bytes"], "problem": one["problem"]}
            for one in status["members"]
        ]  # fmt: skip
        return {"alarms": status["alarms"], "members": members}


def _parts(cluster: Cluster) -> tuple[tuple[str, NodeName, str], ...]:
    """What a cluster runs: which directory it has, in which host it is, and what it is called there."""
    return (
        (SERVER, cluster.master.node, SERVER_NAME),
        *((member.node, member.node, AGENT) for member in cluster.nodes),
    )


def _named(what: str) -> str:
    return "the API server" if what == SERVER else f"the agent of {what}"


def _named_es(what: str) -> str:
    return "el servidor de la API" if what == SERVER else f"el agente de {what}"


async def _ready_nodes(api: HttpApi) -> set[str]:
    return {one["metadata"]["name"] for one in (await api.list("v1/nodes")).items if is_ready(one)}
