"""`python -m trenza.cluster.node`: an agent; executed by the keeper, with its settings."""

from __future__ import annotations

import asyncio
import resource
import sys
import traceback

from trenza.cluster.node.agent import Agent
from trenza.cluster.node.launch import Place, enter, take_settings
from trenza.cluster.node.settings import NodeSettings, read_settings


def main() -> None:
    settings = read_settings(take_settings())
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
