"""The embedded store outlives its process and a full disk, and does not share its file."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from store_contestants import events_through

from trenza.cluster.store.embedded import EmbeddedStore
from trenza.cluster.store.errors import NoSuchLease, Unavailable
from trenza.cluster.store.protocol import Put

HERE = Path(__file__).parent
ROUNDS = 100 if os.environ.get("TRENZA_SOAK") else 5
AsUser = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.anyio
async def test_what_was_answered_survives_sigkill_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    answered: dict[int, str] = {}
    for _ in range(ROUNDS):
        argv = [sys.executable, str(HERE / "embedded_writer.py"), str(path)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            until = random.randrange(1, 400)
            for count, line in enumerate(writer.stdout):
                if not line.endswith("\n"):  # killed in the middle of saying so
                    break
                key, revision = line.split()
                answered[int(revision)] = key
                if count == until:
                    writer.kill()
        store = await EmbeddedStore.open(path)
        newest = await store.revision()
        assert newest >= max(answered)
        with store.watch("/", from_revision=2) as watch:
            events = await events_through(watch, newest)
        assert [event.revision for event in events] == list(range(2, newest + 1))
        state: dict[str, int] = {}
        for event in events:
            if isinstance(event, Put):
                state[event.key] = event.revision
            else:
                del state[event.key]
            said = answered.get(event.revision)
            assert said in (None, event.key if isinstance(event, Put) else f"-{event.key}")
        assert {item.key: item.mod_revision for item in (await store.range("/")).items} == state
        await store.close()
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()


@pytest.mark.kernel
def test_a_full_disk_leaves_the_old_state_readable_and_says_so(as_user: AsUser) -> None:
    with tempfile.TemporaryDirectory(prefix="trenza-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        script = 'mount -t tmpfs -o size=2m none "$1" && exec "$2" "$3" "$1"'
        arguments = [directory, sys.executable, str(HERE / "full_disk_writer.py")]
        done = as_user(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *arguments])
    assert done.stdout == "held\n", done.stderr


@pytest.mark.anyio
async def test_a_file_belongs_to_one_process(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(tmp_path / "store.db")
    with pytest.raises(Unavailable, match="in use"):
        await EmbeddedStore.open(tmp_path / "store.db")
    await store.close()
    await (await EmbeddedStore.open(tmp_path / "store.db")).close()


@pytest.mark.anyio
async def test_what_is_not_a_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("something else, long enough to be no database at all\n" * 100)
    with pytest.raises(Unavailable, match="not a database"):
        await EmbeddedStore.open(tmp_path / "store.db")
    with pytest.raises(Unavailable):
        await EmbeddedStore.open(tmp_path / "nowhere" / "store.db")


@pytest.mark.anyio
async def test_a_lease_has_its_whole_time_again_after_a_restart(tmp_path: Path) -> None:
    now = [100.0]
    store = await EmbeddedStore.open(tmp_path / "store.db", now_s=lambda: now[0])
    lease = await store.grant(10)
    first = await store.put("/a", b"", expected=0, lease=lease.id)
    now[0] += 9
    await store.close()
    store = await EmbeddedStore.open(tmp_path / "store.db", now_s=lambda: now[0])
    now[0] += 9
    assert await store.keep_alive(lease.id) == 10
    assert await store.get("/a") is not None
    now[0] += 11
    await store.grant(5)  # who waits for deadlines looks at the clock again
    with store.watch("/", from_revision=first + 1) as watch:
        assert len(await events_through(watch, first + 1)) == 1
    with pytest.raises(NoSuchLease):
        await store.keep_alive(lease.id)
    again = await store.grant(10)
    assert again.id != lease.id
    await store.close()
