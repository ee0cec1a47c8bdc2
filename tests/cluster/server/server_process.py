"""A server's own process."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from raw_requests import Client


@asynccontextmanager
async def started(directory: Path, *arguments: str) -> AsyncIterator[tuple[Any, Client]]:
    """The process and a client; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trenza.cluster.server", "--listen", "127.0.0.1:0", "--state", str(directory), *arguments,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            said = (await process.stdout.readline()).decode()
        assert said.startswith("listening on https://127.0.0.1:"), said
        tls = ssl.create_default_context(cafile=str(directory / "ca.crt"))
        yield process, Client(int(said.rpartition(":")[2]), tls, (directory / "admin.token").read_text())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
