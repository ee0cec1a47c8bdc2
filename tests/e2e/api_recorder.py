"""Clients of a running cluster's API who write down what they asked and heard, for `trenza.cluster.store.history`.

Their objects are ConfigMaps of one namespace; a key is an object's name, its value what is under `data.v`. Each client
is a thread with a connection of its own, from outside the lab.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import random
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from trenza.cluster.store.history import Got, Listed, Record, Refused, Watched, Wrote, violations
from trenza.cluster.store.protocol import Batch, Delete, Put, Range, Stored, Write

KEYS = 5
ANSWER_S = 15.0
"""Longer than the server's own patience with its store, so that its own answer comes first."""
WATCH_S = 3.0
"""A watch that says nothing is asked for anew after so long: a connection of a dead server may stay open."""
PAUSE_S = 0.01
_BROKEN = (OSError, http.client.HTTPException)
_MADE_BY_OTHERS = "kube-root-ca.crt"

Answer = tuple[int, dict[str, Any]]


class Access:
    """How a kubeconfig reaches its server."""

    def __init__(self, kubeconfig: str) -> None:
        config = yaml.safe_load(kubeconfig)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.host, _, port = cluster["server"].removeprefix("https://").partition(":")
        self.port = int(port)
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.context = ssl.create_default_context(cadata=authority)
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "own.pem"
            path.write_bytes(
                base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"])
            )
            self.context.load_cert_chain(path)

    def connection(self, timeout_s: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout_s, context=self.context)


class Client:
    """One kept connection, another one after any failure."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._connection: http.client.HTTPSConnection | None = None

    def connect(self) -> None:
        """Raises OSError where nobody answers: nothing was asked then."""
        if self._connection is None:
            connection = self._access.connection(ANSWER_S)
            connection.connect()
            self._connection = connection

    def ask(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Answer:
        """Status and JSON. What fails once it is connected may have been done."""
        self.connect()
        assert self._connection is not None
        try:
            text = None if body is None else json.dumps(body)
            self._connection.request(method, path, text, {"Content-Type": kind} if text else {})
            answer = self._connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (*_BROKEN, ValueError):
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass(slots=True)
class Seen:
    """What one watch has been told: its batches, and what it knows of each key from them."""

    since: int
    known: dict[str, Stored] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)

    @property
    def revision(self) -> int:
        return self.batches[-1].revision if self.batches else self.since

    def take(self, event: dict[str, Any]) -> None:
        revision = int(event["object"]["metadata"]["resourceVersion"])
        key = event["object"]["metadata"].get("name")
        if event["type"] == "BOOKMARK" or key == _MADE_BY_OTHERS:
            self.batches.append(Batch(revision))
            return
        stored, before = _stored(event["object"]), self.known.get(key)
        if event["type"] == "DELETED":
            # what was deleted is told at the revision of its deletion
            previous = replace(stored, mod_revision=before.mod_revision if before else 0)
            self.known.pop(key, None)
            self.batches.append(Batch(revision, (Delete(revision, previous),)))
            return
        assert (event["type"] == "ADDED") == (before is None), f"{event['type']} {key} at {revision} behind {before}"
        self.known[key] = stored
        self.batches.append(Batch(revision, (Put(stored, before),)))

    def record(self) -> Watched:
        return Watched("", self.since + 1, tuple(self.batches))


class ApiRecorder:
    """Writers and readers at work, and two who watch. `answers` counts them by status, 0 for none at all."""

    def __init__(self, kubeconfig: str, seed: int) -> None:
        self.history: list[Record] = []
        self.answers: Counter[int] = Counter()
        self.slowest_s = 0.0
        self._access = Access(kubeconfig)
        self._seed = seed
        self._namespace = f"history-{seed}"
        self._path = f"/api/v1/namespaces/{self._namespace}/configmaps"
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._end = False
        self._failed: list[BaseException] = []
        self._written = 0
        self._moved = threading.Condition()
        self._deleted: list[tuple[float, float, str, int]] = []
        self._watches: list[Seen] = []
        self._start = 0

    @contextmanager
    def at_work(self, clients: int = 5) -> Iterator[None]:
        """Clients and watchers; at the end all of them have come to the newest revision. What fails in one, fails."""
        client = Client(self._access)
        client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": self._namespace}})
        self._start = int(client.ask("GET", self._path)[1]["metadata"]["resourceVersion"])
        workers = [threading.Thread(target=self._guarded, args=(self._work, number)) for number in range(clients)]
        watchers = [threading.Thread(target=self._guarded, args=(self._watch, number)) for number in range(2)]
        for thread in (*workers, *watchers):
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in workers:
                thread.join()
            try:
                newest = self._newest(client)
                with self._moved:
                    caught_up = self._moved.wait_for(lambda: self._failed or self._caught_up(newest), 30)
            finally:
                self._end = True
                for thread in watchers:
                    thread.join()
                client.close()
        if self._failed:
            raise self._failed[0]
        assert caught_up, f"the watches came to {[seen.revision for seen in self._watches]}, not to {newest}"

    def more_writes(self, count: int, within_s: float = 30.0) -> None:
        """Return when `count` more writes have been answered."""
        with self._moved:
            target = self._written + count
            assert self._moved.wait_for(lambda: self._failed or self._written >= target, within_s), (
                f"{target - self._written} of {count} writes were not answered within {within_s} s: {self.answers}"
            )

    def wait(self, for_s: float) -> None:
        """Let them work for a while, whatever they are answered."""
        with self._moved:
            self._moved.wait_for(lambda: self._failed, for_s)

    def verdict(self) -> tuple[str, ...]:
        """What the history says against the API."""
        watched = [seen.record() for seen in self._watches]
        gone = {
            (event.previous.key, event.previous.mod_revision): event.revision
            for one in watched
            for batch in one.batches
            for event in batch.events
            if isinstance(event, Delete)
        }
        deleted, unseen = [], []
        for began_s, ended_s, key, at in self._deleted:  # the API does not tell at which revision
            if (key, at) in gone:
                deleted.append(Wrote(began_s, ended_s, (Write(key, None),), gone[key, at], {key: at}))
            else:
                unseen.append(f"the deletion of {key} at {at} was answered, and no watch has seen it")
        history = [*self.history, *deleted, *watched]
        return (*unseen, *violations(history, start=self._start, counted=False))

    # ------------------------------------------------------------------ threads
    def _guarded(self, work: Any, number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # the root of a thread: whoever waits is told
            self._failed.append(error)
            with self._moved:
                self._moved.notify_all()

    def _caught_up(self, newest: int) -> bool:
        return len(self._watches) >= 2 and all(seen.revision >= newest for seen in self._watches[-2:])

    def _newest(self, client: Client) -> int:
        """The revision of a last write, which is of another kind and so brings no event, but moves bookmarks."""
        until = time.monotonic() + 30
        while True:
            try:
                status, answer = client.ask("POST", self._path, _object(f"end-{next(self._numbers)}", "end"))
            except _BROKEN:
                status = 0
            if status == 201:
                revision = int(answer["metadata"]["resourceVersion"])
                key = answer["metadata"]["name"]
                self.history.append(Wrote(0, time.monotonic(), (Write(key, b"end"),), revision, {key: 0}))
                return revision
            assert time.monotonic() < until, "the API did not come back"
            self._stop.wait(PAUSE_S)

    def _work(self, number: int) -> None:
        chance = random.Random(self._seed * 100 + number)
        client = Client(self._access)
        while not self._stop.is_set():
            began_s = time.monotonic()
            try:
                client.connect()
            except _BROKEN:
                self.answers[0] += 1
                self._stop.wait(PAUSE_S)
                continue
            self._turn(client, chance, f"k{chance.randrange(KEYS)}")
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
        client.close()

    def _turn(self, client: Client, chance: random.Random, key: str) -> None:
        match chance.randrange(10):
            case 0:
                self._list(client, "")
            case 1:
                past = chance.choice([one.range.revision for one in self.history if isinstance(one, Listed)] or [0])
                self._list(client, f"?resourceVersion={past}&resourceVersionMatch=Exact" if past else "")
            case 2 | 3:
                self._get(client, key)
            case 4:
                patch = {"data": {"v": str(next(self._numbers))}}
                self._write(client, "PATCH", key, patch, None, "application/merge-patch+json")
            case 5 | 6:
                if at := self._get(client, key):
                    self._write(client, "DELETE", key, {"preconditions": {"resourceVersion": str(at)}}, at)
            case _:
                at = self._get(client, key)
                if at is not None:
                    body = _object(key, str(next(self._numbers)), at)
                    self._write(client, "PUT" if at else "POST", key, body, at)

    def _answered(
        self, client: Client, method: str, path: str, body: object = None, kind: str = "application/json"
    ) -> Answer:
        try:
            status, answer = client.ask(method, path, body, kind)
        except (*_BROKEN, ValueError):
            status, answer = 0, {}
        self.answers[status] += 1
        if status == 0 or status >= 500:
            self._stop.wait(PAUSE_S)
        return status, answer

    def _get(self, client: Client, key: str) -> int | None:
        """The revision of an object, 0 where there is none; None where that was not to be had."""
        began_s = time.monotonic()
        status, answer = self._answered(client, "GET", f"{self._path}/{key}")
        if status not in (200, 404):
            assert status == 0 or status >= 500, answer
            return None
        stored = _stored(answer) if status == 200 else None
        self.history.append(Got(began_s, time.monotonic(), key, stored))
        return stored.mod_revision if stored else 0

    def _list(self, client: Client, query: str) -> None:
        began_s = time.monotonic()
        status, answer = self._answered(client, "GET", self._path + query)
        if status != 200:
            assert status == 0 or status >= 500 or (status == 410 and query), answer
            return
        items = tuple(_stored(one) for one in answer["items"] if one["metadata"]["name"] != _MADE_BY_OTHERS)
        found = Range(items, int(answer["metadata"]["resourceVersion"]), 0)
        self.history.append(Listed(began_s, time.monotonic(), "", found, pinned=bool(query)))

    def _write(
        self, client: Client, method: str, key: str, body: Any, at: int | None, kind: str = "application/json"
    ) -> None:
        """`at` is the revision that it is to be at, None where any will do."""
        path = self._path if method == "POST" else f"{self._path}/{key}"
        value = None if method == "DELETE" else str(body["data"]["v"]).encode()
        expected = {} if at is None else {key: at}
        began_s = time.monotonic()
        status, answer = self._answered(client, method, path, body, kind)
        ended_s = time.monotonic()
        if status in (200, 201):
            if value is None:
                assert at is not None
                self._deleted.append((began_s, ended_s, key, at))
            else:
                revision = int(answer["metadata"]["resourceVersion"])
                self.history.append(Wrote(began_s, ended_s, (Write(key, value),), revision, expected))
            with self._moved:
                self._written += 1
                self._moved.notify_all()
        elif status == 0 or status >= 500:
            self.history.append(Wrote(began_s, ended_s, (Write(key, value),), None, expected))
        elif status == 404 and at is None:
            self.history.append(Got(began_s, ended_s, key, None))
        elif status == 404 and at is not None:
            self.history.append(Refused(began_s, ended_s, key, at, 0))
        else:
            assert status == 409, (method, status, answer)
            assert at is not None, answer
            self.history.append(Refused(began_s, ended_s, key, at, None))

    # ------------------------------------------------------------------ watching
    def _watch(self, number: int) -> None:
        seen = Seen(self._start)
        self._watches.append(seen)
        while not self._end:
            try:
                seen = self._watch_on(seen)
            except (*_BROKEN, ValueError):
                self._stop.wait(PAUSE_S)

    def _watch_on(self, seen: Seen) -> Seen:
        """Go on with a watch for a while; another one where the past that it asks for is gone."""
        connection = self._access.connection(WATCH_S)
        try:
            query = f"?watch=1&allowWatchBookmarks=true&resourceVersion={seen.revision}"
            connection.request("GET", self._path + query)
            answer = connection.getresponse()
            if answer.status != 200:
                self._stop.wait(PAUSE_S)
                return seen
            while not self._end and (line := answer.readline()):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    self.answers[int(event["object"]["code"])] += 1
                    return self._begun_again() if event["object"]["code"] == 410 else seen
                seen.take(event)
                with self._moved:
                    self._moved.notify_all()
            return seen
        finally:
            connection.close()

    def _begun_again(self) -> Seen:
        client = Client(self._access)
        try:
            began_s = time.monotonic()
            status, answer = client.ask("GET", self._path)
            if status != 200:
                raise ConnectionError(f"status {status}")
            items = tuple(_stored(one) for one in answer["items"] if one["metadata"]["name"] != _MADE_BY_OTHERS)
            revision = int(answer["metadata"]["resourceVersion"])
            self.history.append(Listed(began_s, time.monotonic(), "", Range(items, revision, 0)))
            seen = Seen(revision, {one.key: one for one in items})
            self._watches.append(seen)
            return seen
        finally:
            client.close()


def _object(key: str, value: str, revision: int = 0) -> dict[str, Any]:
    metadata = {"name": key, **({"resourceVersion": str(revision)} if revision else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"v": value}}


def _stored(item: dict[str, Any]) -> Stored:
    metadata = item["metadata"]
    return Stored(metadata["name"], item["data"]["v"].encode(), 0, int(metadata["resourceVersion"]), 0)
