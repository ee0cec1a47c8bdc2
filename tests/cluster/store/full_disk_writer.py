"""Fills the disk at the directory that is named, and checks what an embedded store does then; prints "held"."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from trenza.cluster.store.embedded import EmbeddedStore
from trenza.cluster.store.errors import ReadOnly


async def main() -> None:
    directory = Path(sys.argv[1])
    filler = directory / "filler"
    filler.write_bytes(bytes(1_000_000))
    store = await EmbeddedStore.open(directory / "store.db")
    answered: list[str] = []
    refusals = 0
    while refusals < 20:
        key = f"/{len(answered):05}"
        try:
            await store.put(key, bytes(3000), expected=0)
            answered.append(key)
        except ReadOnly as refused:
            assert "no room" in refused.reason, refused
            refusals += 1
            assert (await store.status()).alarms == (refused.reason,)
        found = await store.range("/")
        assert [item.key for item in found.items] == answered
    assert len(answered) > 20, len(answered)
    await store.close()

    store = await EmbeddedStore.open(directory / "store.db")  # what is on the full disk can be opened and read
    assert [item.key for item in (await store.range("/")).items] == answered
    filler.unlink()
    await store.put("/again", bytes(3000), expected=0)
    assert (await store.status()).alarms == ()
    await store.close()
    print("held")


asyncio.run(main())
