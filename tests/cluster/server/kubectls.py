"""Real kubectls and how tests drive them: `Kubectl(version, kubeconfig)` runs one command to its end."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CACHE = Path(__file__).parents[3] / ".cache" / "kubectl"
VERSIONS = ("1.20", "1.32", "1.36")
DEADLINE_S = 60.0


def program(version: str) -> Path:
    """Where that version is, if `scripts/kubectl.sh` has fetched it."""
    return CACHE / version / "kubectl"


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Kubectl:
    """One version with one kubeconfig; `home` holds its caches."""

    version: str
    kubeconfig: Path
    home: Path

    @property
    def minor(self) -> int:
        return int(self.version.partition(".")[2])

    async def start(self, *arguments: str, stdin: int = asyncio.subprocess.DEVNULL, **environment: str) -> Any:
        """The process; its output in pipes."""
        return await asyncio.create_subprocess_exec(
            program(self.version),
            *arguments,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "KUBECONFIG": str(self.kubeconfig), **environment},
        )

    async def try_(self, *arguments: str, given: str | None = None, **environment: str) -> Ran:
        """How it went."""
        pipe = asyncio.subprocess.PIPE if given is not None else asyncio.subprocess.DEVNULL
        process = await self.start(*arguments, stdin=pipe, **environment)
        try:
            async with asyncio.timeout(DEADLINE_S):
                out, err = await process.communicate(None if given is None else given.encode())
        except TimeoutError:
            process.kill()
            out, err = await process.communicate()
            raise AssertionError(f"kubectl {' '.join(arguments)} hangs: {out!r} {err!r}") from None
        return Ran(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))

    async def __call__(self, *arguments: str, given: str | None = None, **environment: str) -> str:
        """What it prints; it must succeed."""
        ran = await self.try_(*arguments, given=given, **environment)
        assert ran.code == 0, f"kubectl {' '.join(arguments)}: {ran}"
        return ran.out

    async def json(self, *arguments: str, given: str | None = None) -> Any:
        """What it prints with `-o json`."""
        return json.loads(await self(*arguments, "-o", "json", given=given))
