"""Saving: what a lab is now and how it came to be so, as plain data for an archive or as a lab file."""

from __future__ import annotations

import asyncio
import base64
import shlex
import time
from collections.abc import Mapping
from typing import Any

from trenza.engine.engine import Engine
from trenza.errors import TrenzaError, UsageError
from trenza.keeper.cluster_objects import ClusterObjects
from trenza.keeper.commands import Commands
from trenza.keeper.connection import Connection
from trenza.keeper.sessions import Sessions
from trenza.linux.inside import MAX_PLACED_BYTES, SandboxNodes
from trenza.linux.written import written_files
from trenza.model.cluster import MANIFESTS, SAVED
from trenza.model.names import NodeName, is_uplink
from trenza.model.plain import plain_state
from trenza.model.state import File, State
from trenza.plan.clustered import without_clustered
from trenza.plan.moving import without_moving
from trenza.wire import Message

MAX_WAIT_S = 10.0
MAX_SOURCES_BYTES = 20 << 20


class Saving:
    """Answers `save`, `export` and `state`, and keeps what is done to nodes from outside."""

    def __init__(
        self, engine: Engine, nodes: SandboxNodes, sessions: Sessions, commands: Commands, there: ClusterObjects
    ) -> None:
        self._engine = engine
        self._nodes = nodes
        self._sessions = sessions
        self._commands = commands
        self._objects = there

    def keep(self, verb: str, message: Message) -> None:
        """Keep a request that was done, unless it comes from a replay that says otherwise."""
        if message.get("record") is False:
            return
        names = ("host", "name", "node", "words", "options", "for", "path")
        request = {"verb": verb, **{name: message[name] for name in names if message.get(name)}}
        for name in ("node", "host"):
            if name in request:
                request[name] = self._whole_name(request[name])
        self._sessions.act(request.get("node") or request.get("host") or "", _in_words(request), request)

    def _whole_name(self, name: str) -> str:
        """A node's full name; of one that is no more, the name as it was typed."""
        try:
            return self._engine.resolve(name)
        except UsageError:
            return name

    def _observed(self) -> State:
        """What is there, without the addresses that virtual routers move, and what a cluster's agents made."""
        wanted = self._engine.wanted
        observed = without_moving(self._engine.kernel.observe(wanted), self._engine.declared)
        return without_clustered(observed, wanted, self._engine.lab.cluster)

    async def state(self, connection: Connection, message: Message) -> None:
        """The observed state, as plain data; with `change_within_s`, after the next change, or at the latest then."""
        within_s = min(float(message.get("change_within_s") or 0), MAX_WAIT_S)
        if within_s > 0:
            changed = asyncio.Event()
            stop = self._engine.journal.listen(lambda _: changed.set())
            try:
                async with asyncio.timeout(within_s):
                    await changed.wait()
            except TimeoutError:
                pass
            finally:
                stop()
        connection.send({"result": {"state": plain_state(self._observed())}})

    async def save(self, connection: Connection, message: Message) -> None:
        """All that an archive holds."""
        record = self._engine.record
        if record is None:
            raise UsageError("nothing was built yet")
        left_out = self._reference_files()
        if sum(map(len, record.files.values())) > MAX_SOURCES_BYTES:
            raise UsageError("the files that the lab takes from its directory are too large to be saved")
        observed = self._observed()
        written = written_files([name for name in self._engine.names() if not is_uplink(name)], self._nodes.root_id)
        objects, missing = await self._made()
        files, hostnames = self._engine.declared.things, self._engine.declared.nodes
        result: dict[str, Any] = {
            "lab": self._engine.lab.name,
            "title": dict(self._engine.lab.title),
            "mode": record.mode.value,
            "until": record.until,
            "profile": record.profile,
            "parameters": record.parameters,
            "variants": record.variants,
            "has_etcd": record.has_etcd,
            "language": record.language,
            "saved_s": time.time(),
            "began_s": record.began_s,
            "launched": record.launched,
            "source": base64.b64encode(record.source).decode(),
            "sources": record.files,
            "commands": sorted(
                [
                    *self._sessions.lines(None, record.began_s, actions=True),
                    *map(_unfinished, self._commands.running()),
                ],
                key=lambda line: float(line.get("began", line["time"])),
            ),
            "files": [
                {
                    "node": file.node,
                    "path": file.path,
                    "mode": file.mode,
                    "owner": file.owner,
                    "content": base64.b64encode(file.content).decode(),
                }
                for file in written.files
                if not (
                    (file.node, file.path) in objects
                    or (file.path == "/etc/hostname" and file.content == _hostname(hostnames, file.node))
                    or _same(files.get(("file", file.node, file.path)), file.content, file.mode)
                )
            ]
            + [
                {"node": node, "path": path, "mode": 0o644, "owner": "root", "content": base64.b64encode(data).decode()}
                for (node, path), data in objects.items()
                if data
            ],
            "state": plain_state(observed),
            "left_out": [*written.left_out, *left_out, *missing],
        }
        connection.send({"result": result})

    def _reference_files(self) -> list[str]:
        """Read what the lab's checkpoints take from its directory, which whoever checks the saved lab has not."""
        try:
            self._engine.reference()
        except TrenzaError as error:
            return [f"the lab's checkpoints: {error.message}"]
        return []

    async def _made(self) -> tuple[dict[tuple[str, str], bytes], list[str]]:
        """What people made in the cluster as the file of a manifest, empty if that is nothing; and what is missing."""
        cluster = self._engine.lab.cluster
        if cluster is None:
            return {}, []
        try:
            made = await self._objects.made()
        except TrenzaError as error:
            return {}, [f"the objects of the cluster: {error.message}"]
        return {(cluster.master.node, f"{MANIFESTS}/{SAVED}"): made or b""}, []

    async def remember(self, connection: Connection, message: Message) -> None:
        """Keep what was done again, as if it had been typed here."""
        self._sessions.extend(message["records"])
        connection.send({"result": {}})

    async def export(self, connection: Connection, message: Message) -> None:
        """The observed state as a lab file's text, and what that does not say."""
        from trenza.plan.export import exported

        observed = self._observed()
        alive = self._nodes.alive()
        contents: dict[tuple[str, str], bytes] = {}
        for thing in observed:
            if isinstance(thing, File) and thing.node in alive:
                read = self._nodes.read(thing.node, thing.path, limit_bytes=MAX_PLACED_BYTES)
                if read is not None:
                    contents[thing.node, thing.path] = read[0]
        lab = self._engine.lab
        language = message.get("language") or "en"
        export = exported(observed, lab.name, contents, lab.title, language, lab.cluster)
        connection.send({"result": {"text": export.text, "left_out": list(export.left_out)}})


def _unfinished(running: Mapping[str, Any]) -> dict[str, Any]:
    record = dict(running)
    began_s = record.pop("began_s")
    return {"time": began_s, "began": began_s, "status": None, **record}


def _hostname(nodes: Mapping[NodeName, Any], node: NodeName) -> bytes:
    return f"{nodes[node].hostname}\n".encode() if node in nodes else b""


def _same(declared: object, content: bytes, mode: int) -> bool:
    """Whether a file is as the lab wants it."""
    return isinstance(declared, File) and declared.content == content and declared.mode == mode


def _in_words(request: Mapping[str, Any]) -> str:
    """The command line that asks for it."""
    words = [str(request["verb"])]
    if "host" in request:
        words.append(f"{request['host']}/{request['name']}")
    if "node" in request:
        words.append(f"{request['node']}:{request['path']}" if "path" in request else str(request["node"]))
    words += request.get("words", ())
    words += [f"--{name}={value}" for name, value in request.get("options", {}).items()]
    words += ["--for", request["for"]] if "for" in request else []
    return "trenza " + shlex.join(words)
