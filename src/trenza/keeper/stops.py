"""Services that somebody stopped in their node by `/etc/init.d/NAME stop`, until they have them started."""

from __future__ import annotations

import asyncio
import os

from trenza.linux import beneath
from trenza.linux.inotify import IN_CREATE, IN_DELETE, IN_MODIFY, IN_MOVED_TO, IN_ONLYDIR, Inotify
from trenza.linux.inside import STOPS, ByHand, SandboxNodes
from trenza.model.state import Process

_LOOK_AGAIN_S = 5.0
"""Where a mark's end cannot be told (no inotify instance is left), it is looked at this often."""


async def until_started_by_hand(nodes: SandboxNodes, process: Process) -> None:
    """Until the mark of a service says that it is to be started, or is gone, or the node is."""
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()
    inotify: Inotify | None = None
    try:
        try:
            inotify = Inotify()
            _watch(inotify, nodes, process)
        except OSError:
            pass
        if inotify is not None:
            loop.add_reader(inotify.fileno(), _heed, inotify, changed)
        while process.node in nodes.alive() and nodes.stop_by_hand(process) is ByHand.REST:
            changed.clear()
            try:
                async with asyncio.timeout(_LOOK_AGAIN_S):
                    await changed.wait()
            except TimeoutError:
                continue
    finally:
        if inotify is not None:
            loop.remove_reader(inotify.fileno())
            inotify.close()


def _watch(inotify: Inotify, nodes: SandboxNodes, process: Process) -> None:
    handle = nodes.alive().get(process.node)
    if handle is None or handle.pid is None:
        return
    with beneath.root_of(handle.pid) as root:
        directory = beneath.open_in_root(root, STOPS, os.O_RDONLY | os.O_DIRECTORY)
    try:
        inotify.watch(directory, IN_MODIFY | IN_DELETE | IN_CREATE | IN_MOVED_TO | IN_ONLYDIR)
    finally:
        os.close(directory)


def _heed(inotify: Inotify, changed: asyncio.Event) -> None:
    if inotify.read():
        changed.set()
