"""Answers that go on: shown as they come, until they end, the person stops them, or the lab ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trenza.cli.speech import note, tr
from trenza.client.session import connect, converse, running_labs
from trenza.errors import KeeperError


def stream(lab: str, request: Mapping[str, Any], show: Callable[[dict[str, Any]], None]) -> int:
    """Ask, and show each message before the answer; 0, also where the lab ends meanwhile, which is said."""
    channel = connect(lab)
    channel.socket.settimeout(None)
    try:
        converse(channel, request, listener=show)
    except KeeperError:
        if lab in running_labs():
            raise
        note(tr(f"{lab} has ended", f"{lab} ha terminado"))
    finally:
        channel.close()
    return 0
