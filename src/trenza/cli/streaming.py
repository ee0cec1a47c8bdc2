"""Answers that go on: shown as they come, until they end, the person stops them, or the lab ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from trenza.cli.speech import note, tr
from trenza.client.session import connect, converse, running_labs
from trenza.errors import KeeperError


def stream(lab: str, request: Mapping[str, Any], show: Callable[[dict[str, Any]], None]) -> int:
    """Ask, and show each message before the answer; 0, also where the lab ends meanwhile, which is said."""
    channel = connect(lab)
    channel.socket.settimeout(None)
    try:
        with until_it_ends(lab):
            converse(channel, request, listener=show)
    finally:
        channel.close()
    return 0


@contextmanager
def until_it_ends(lab: str) -> Iterator[None]:
    """A lab that ends within the block ends the block, which is said."""
    try:
        yield
    except KeeperError:
        if lab in running_labs():
            raise
        note(tr(f"{lab} has ended", f"{lab} ha terminado"))
