"""`python -m trenza.cluster.node`: an agent; executed by the keeper, its settings on descriptor 3."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import traceback

from trenza.cluster.node.agent import Agent
from trenza.cluster.node.launch import SETTINGS_DESCRIPTOR, Place, enter
from trenza.cluster.node.settings import NodeSettings, read_settings


def main() -> None:
    with os.fdopen(SETTINGS_DESCRIPTOR) as file:
        settings = read_settings(file.read())
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    enter(settings.host_pid, lambda place: _run(settings, place))


async def _serve(settings: NodeSettings, place: Place) -> None:
    await Agent(settings, place.sandbox_netns).run()


def _run(settings: NodeSettings, place: Place) -> None:
    try:
        asyncio.run(_serve(settings, place))
    except BaseException:  # a forked child: its log is all that is left to say it to
        traceback.print_exc()
        sys.stderr.flush()


if __name__ == "__main__":
    main()
