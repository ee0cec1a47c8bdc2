"""An API server in memory that does what a host's agent asks for, over HTTP, with what only tests ask for beside it.

Executed in the sandbox, it lies in the master host's network. `POST /test/exec` runs a command in a pod through the
host's own endpoint, as the real server will.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import sys
import time
import traceback
import uuid
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import h11

from trenza.cluster.api import ApiError
from trenza.cluster.node import frames
from trenza.cluster.node.launch import Place, enter
from trenza.cluster.node.times import time_of

Object = dict[str, Any]


class Refusal(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class Store:
    """Objects by (collection, namespace, name), and everything that happened, in order."""

    def __init__(self, network: Object) -> None:
        self.revision = 1
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.history: list[tuple[int, str, str, Object]] = []
        self.network = network
        self.leases: dict[str, Object] = {}
        self.lease_history: list[tuple[int, str, Object | None]] = []
        self.changed = asyncio.Condition()

    async def note(self, kind: str, collection: str, thing: Object) -> Object:
        self.revision += 1
        thing["metadata"]["resourceVersion"] = str(self.revision)
        self.history.append((self.revision, kind, collection, json.loads(json.dumps(thing))))
        async with self.changed:
            self.changed.notify_all()
        return thing

    async def create(self, collection: str, namespace: str, thing: Object) -> Object:
        metadata = thing["metadata"]
        if namespace:
            metadata["namespace"] = namespace
        key = (collection, namespace, metadata["name"])
        if key in self.objects:
            raise Refusal(409, "AlreadyExists")
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": time_of(time.time())}
        self.objects[key] = thing
        return await self.note("ADDED", collection, thing)

    async def patch(self, key: tuple[str, str, str], patch: Object, status_only: bool) -> Object:
        old = self.get(key)
        uid = patch.get("metadata", {}).get("uid")
        if uid and uid != old["metadata"]["uid"]:
            raise Refusal(409, "Conflict")
        if status_only:
            patch = {"status": patch.get("status", {})}
        new = merged(old, patch)
        if new == old:
            return old
        self.objects[key] = new
        return await self.note("MODIFIED", key[0], new)

    def get(self, key: tuple[str, str, str]) -> Object:
        if key not in self.objects:
            raise Refusal(404, "NotFound")
        return self.objects[key]

    async def delete(self, key: tuple[str, str, str], options: Object) -> Object:
        thing = self.get(key)
        uid = (options.get("preconditions") or {}).get("uid")
        if uid and uid != thing["metadata"]["uid"]:
            raise Refusal(409, "Conflict")
        grace = options.get("gracePeriodSeconds", thing.get("spec", {}).get("terminationGracePeriodSeconds", 30))
        if key[0] == "pods" and grace > 0:
            until = time_of(time.time() + grace)
            ending = {"metadata": {"deletionTimestamp": until, "deletionGracePeriodSeconds": grace}}
            self.objects[key] = merged(thing, ending)
            return await self.note("MODIFIED", key[0], self.objects[key])
        del self.objects[key]
        return await self.note("DELETED", key[0], thing)

    async def put_lease(self, subnet: str, value: Object | None, create: bool) -> None:
        if create and subnet in self.leases:
            raise Refusal(409, "AlreadyExists")
        self.revision += 1
        if value is None:
            self.leases.pop(subnet, None)
        else:
            self.leases[subnet] = value
        self.lease_history.append((self.revision, subnet, value))
        async with self.changed:
            self.changed.notify_all()


def selected(thing: Object, selector: str) -> bool:
    for one in filter(None, selector.split(",")):
        path, _, wanted = one.partition("=")
        value: Any = thing
        for part in path.split("."):
            value = (value or {}).get(part)
        if value != wanted:
            return False
    return True


class Server:
    def __init__(self, store: Store, tls: ssl.SSLContext | None) -> None:
        self.store = store
        self.tls = tls

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while True:
                request, body = None, b""
                while True:
                    event = connection.next_event()
                    if event is h11.NEED_DATA:
                        connection.receive_data(await reader.read(65536))
                    elif isinstance(event, h11.Request):
                        request = event
                    elif isinstance(event, h11.Data):
                        body += bytes(event.data)
                    elif isinstance(event, h11.EndOfMessage):
                        break
                    else:
                        return
                assert request is not None
                await self.answer(connection, request, json.loads(body) if body else {}, writer)
                if connection.our_state is not h11.DONE:
                    return
                connection.start_next_cycle()
        except (OSError, EOFError, h11.ProtocolError):
            pass
        finally:
            writer.close()

    async def answer(self, connection: Any, request: Any, body: Object, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(request.target.decode())
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        try:
            if query.get("watch"):
                await self.watch(connection, parts.path, query, writer)
                return
            status, value = 200, await self.handle(request.method.decode(), parts.path, query, body)
        except Refusal as refusal:
            status = refusal.code
            value = {"kind": "Status", "code": refusal.code, "reason": refusal.reason, "message": refusal.reason}
        data = json.dumps(value).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=data), h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        await writer.drain()

    @staticmethod
    def key(path: str) -> tuple[str, str, str, str]:
        """Collection, namespace, name, subresource."""
        words = [unquote(part) for part in path.strip("/").split("/")]
        words = words[2:] if words[0] == "api" else words[3:]
        namespace = ""
        if words[0] == "namespaces" and len(words) > 2:
            namespace, words = words[1], words[2:]
        return (*(words + [""] * 3)[:1], namespace, *(words + [""] * 3)[1:3])  # type: ignore[return-value]

    async def handle(self, method: str, path: str, query: dict[str, str], body: Object) -> Object:
        store = self.store
        if path == "/test/exec":
            return await self.execute(body)
        if path == "/test/history":
            return {
                "history": [
                    {"at": at, "type": kind, "in": place, "object": thing} for at, kind, place, thing in store.history
                ]
            }
        if path == "/coreos.com/network/config":
            return store.network
        if path == "/coreos.com/network/subnets":
            leases = [{"subnet": subnet, "value": value} for subnet, value in store.leases.items()]
            return {"revision": store.revision, "leases": leases}
        if path.startswith("/coreos.com/network/subnets/"):
            subnet = path.rsplit("/", 1)[1]
            await store.put_lease(subnet, None if method == "DELETE" else body, query.get("create") == "true")
            return {}
        collection, namespace, name, subresource = self.key(path)
        key = (collection, namespace, name)
        match method:
            case "GET" if name:
                return store.get(key)
            case "GET":
                items = [
                    thing for (where, space, _), thing in store.objects.items()
                    if where == collection and namespace in ("", space)
                    and selected(thing, query.get("fieldSelector", ""))
                ]  # fmt: skip
                return {"kind": "List", "metadata": {"resourceVersion": str(store.revision)}, "items": items}
            case "POST" if subresource == "token":
                return {**body, "status": {"token": f"token-of-{name}"}}
            case "POST":
                return await store.create(collection, namespace, body)
            case "PUT":
                return await store.patch(key, body, subresource == "status")
            case "PATCH":
                return await store.patch(key, body, subresource == "status")
            case "DELETE":
                return await store.delete(key, body)
        raise Refusal(405, "MethodNotAllowed")

    async def watch(self, connection: Any, path: str, query: dict[str, str], writer: asyncio.StreamWriter) -> None:
        headers = [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")]
        writer.write(connection.send(h11.Response(status_code=200, headers=headers)) or b"")
        store = self.store
        leases = path == "/coreos.com/network/subnets"
        after = int(query["revision" if leases else "resourceVersion"])
        collection, namespace = ("", "") if leases else self.key(path)[:2]
        place = sum(at <= after for at, _, _, _ in store.history)
        while not writer.is_closing():
            lines: list[Object] = []
            if leases:
                lines = [{"subnet": subnet, "value": value} for at, subnet, value in store.lease_history if at > after]
            else:
                lines = [
                    {"type": kind, "object": thing} for at, kind, where, thing in store.history[place:]
                    if where == collection and namespace in ("", thing["metadata"].get("namespace"))
                    and selected(thing, query.get("fieldSelector", ""))
                ]  # fmt: skip
            place, after = len(store.history), store.revision
            for line in lines:
                writer.write(connection.send(h11.Data(data=json.dumps(line).encode() + b"\n")) or b"")
            await writer.drain()
            async with store.changed:
                if store.revision == after:
                    await store.changed.wait()

    async def execute(self, body: Object) -> Object:
        """Run a command in a pod through its host's endpoint: its status and output."""
        query = [("command", word) for word in body.get("argv", ())]
        query += [(name, "true") for name in ("stdin", "tty") if body.get(name)]
        query += [("port", str(body["port"]))] if "port" in body else []
        target = f"/{body.get('verb', 'exec')}/{body['namespace']}/{body['pod']}/{body.get('container', '')}".rstrip(
            "/"
        )
        try:
            if body.get("verb") == "containerLogs":
                return await self.logs(body, target)
            reader, writer = await frames.open_stream(
                body["host"], 10250, f"{target}?{urlencode(query)}", tls=self.tls
            )  # fmt: skip
        except ApiError as error:
            return {"code": -1, "http": error.status, "message": error.message}
        if body.get("stdin") or body.get("verb") == "portForward":
            writer.write(frames.packed(frames.STDIN, body.get("stdin", "").encode()))
            if not body.get("open"):
                writer.write(frames.packed(frames.STDIN, b""))
        output = {frames.STDOUT: b"", frames.STDERR: b""}
        status: Object = {"code": None}
        try:
            async with asyncio.timeout(body.get("timeout_s", 20)):
                async for frame in reader:
                    if frame.channel == frames.STATUS:
                        status = json.loads(frame.payload)
                        break
                    output[frame.channel] += frame.payload
                    if body.get("until") and body["until"].encode() in output[frames.STDOUT]:
                        break
        except TimeoutError:
            status = {"code": -2, "message": "timeout"}
        finally:
            writer.close()
        return {**status, "out": output[1].decode(errors="replace"), "err": output[2].decode(errors="replace")}

    async def logs(self, body: Object, target: str) -> Object:
        reader, writer = await asyncio.open_connection(body["host"], 10250, ssl=self.tls)
        options = urlencode(body.get("query", {}))
        writer.write(f"GET {target}?{options} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        state = h11.Connection(h11.CLIENT)
        state.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        state.send(h11.EndOfMessage())
        status, data = 0, b""
        while True:
            event = state.next_event()
            if event is h11.NEED_DATA:
                state.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                data += bytes(event.data)
            else:
                break
        writer.close()
        return {"http": status, "out": data.decode(errors="replace")}


async def main(settings: Object) -> None:
    context = client = None
    if settings.get("tls"):
        from trenza.cluster.client import client_context
        from trenza.cluster.node.endpoint import server_context

        tls = settings["tls"]
        context = server_context(tls["ca"], tls["certificate"], tls["key"])
        client = client_context(tls["ca"], tls["certificate"], tls["key"])
    server = Server(Store(settings["network"]), client)
    local = await asyncio.start_unix_server(server.serve, sock=socket.socket(fileno=3))
    remote = await asyncio.start_server(server.serve, "0.0.0.0", 6443, ssl=context)
    await asyncio.gather(local.serve_forever(), remote.serve_forever())


def run(settings: Object, place: Place) -> None:
    try:
        asyncio.run(main(settings))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    os.set_inheritable(3, True)
    enter(given["host_pid"], lambda place: run(given, place))
