"""Captures: a process of its own beside the keeper, so that no load of frames slows the keeper down."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL
from collections.abc import Sequence

from trenza.engine.engine import Engine
from trenza.engine.suggestions import suggest
from trenza.errors import UsageError
from trenza.keeper.connection import Connection
from trenza.keeper.places import Found, Places
from trenza.keeper.pods import POD_NIC
from trenza.linux.capture import Settings, Source, command
from trenza.model.names import Interface, NicName
from trenza.wire import Message


def sources(engine: Engine, there: Found, where: Sequence[str]) -> tuple[Source, ...]:
    """What `NODE`, `NODE.NIC` and `pod/…` words mean. Raises UsageError naming what there is."""
    found = []
    for word in where:
        if there.is_pod(word):
            handle = there.handle(word)
            found.append(Source(handle.netns, handle.node.name, POD_NIC))
            continue
        node_word, dot, nic_word = word.partition(".")
        handle = there.handle(node_word)
        node = handle.node.name
        nic = None
        if dot:
            interface = Interface(node, NicName(nic_word))
            nics = sorted(link.interface.nic for link in engine.measure([node]).links)
            if interface.nic not in nics:
                raise UsageError(f"{node} has no interface {nic_word!r}", hint=suggest(nic_word, nics, nics))
            nic = interface.nic
        found.append(Source(handle.netns, node, nic))
    return tuple(found)


async def capture(engine: Engine, places: Places, connection: Connection, message: Message) -> None:
    """Run a capture into the client's descriptors until it ends by itself, or the client stops it or goes."""
    where = list(map(places.without_nic, message["where"]))
    descriptors = connection.take_descriptors(message.get("descriptors", 0))
    control_read, control_write = os.pipe()
    try:
        output, messages = descriptors
        async with places.found(where, message.get("language") or "en") as there:
            settings = Settings(
                sources(engine, there, where),
                output=output,
                pcapng=not message["summary"],
                expression=message["filter"],
                snaplen_bytes=message["snaplen"],
                max_frames=message["count"],
                max_s=message["seconds"],
                control=control_read,
                messages=messages,
            )
            argv, inherited = command(settings)
            process = await asyncio.create_subprocess_exec(
                *argv, pass_fds=inherited, stdin=DEVNULL, stdout=DEVNULL, stderr=messages
            )
    except BaseException:
        os.close(control_write)
        raise
    finally:
        os.close(control_read)
        for descriptor in descriptors:
            os.close(descriptor)
    ended = asyncio.ensure_future(process.wait())
    told = asyncio.ensure_future(connection.receive())
    try:
        await asyncio.wait({ended, told}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        os.close(control_write)  # whatever the client said, it was to stop
        told.cancel()
    connection.send({"result": {"status": await ended}})
