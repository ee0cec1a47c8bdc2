"""Writes to the embedded store in the file that is named, for ever; says each key and revision once it is answered."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from trenza.cluster.store.embedded import EmbeddedStore


async def main() -> None:
    store = await EmbeddedStore.open(Path(sys.argv[1]))
    start = await store.revision()

    async def write(client: int) -> None:
        number = 0
        while True:
            key = f"/{start}/{client}/{number}"
            revision = await store.put(key, f"value of {key}".encode() * 20, expected=0)
            print(key, revision, flush=True)
            if number % 3 == 2:
                _, revision = await store.delete(key, expected=revision)
                print(f"-{key}", revision, flush=True)
            number += 1

    await asyncio.gather(*(write(client) for client in range(8)))


asyncio.run(main())
