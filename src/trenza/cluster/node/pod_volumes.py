"""One pod's volumes in its host: made for its containers, and written anew when what they show is another.

That is, as with a kubelet, for a config map or secret that changed, labels of the pod, a token that is soon to expire.
What is missing meanwhile leaves a volume as it was. A `subPath` goes on showing the file that its container began with.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from trenza.cluster.api import ApiError, Object
from trenza.cluster.node import volumes
from trenza.cluster.node.account_tokens import AccountTokens
from trenza.cluster.node.containers import Containers
from trenza.cluster.node.environment import ConfigError, Surroundings
from trenza.cluster.node.payload import Files
from trenza.cluster.node.volumes import Volume


class PodVolumes:
    """`tokens` are those that the volumes show."""

    def __init__(self, containers: Containers, tokens: AccountTokens) -> None:
        self.tokens = tokens
        self._containers = containers
        self._shown: dict[str, Files] = {}
        self._stale = asyncio.Event()

    def make(self, pod: Object, around: Surroundings) -> tuple[Volume, ...]:
        """All volumes, with what they are to show now. Raises ConfigError, OSError."""
        made = volumes.volumes(pod, around)
        for volume in made:
            if volume.files is None:
                self._containers.make_volume(volume)
            elif self._shown.get(volume.name) != volume.files:
                self._containers.make_volume(volume)
                self._shown[volume.name] = volume.files
        return made

    def doubt(self) -> None:
        """What the volumes show may have changed."""
        self._stale.set()

    async def keep(
        self, pod: Callable[[], Object], around: Callable[[], Awaitable[Surroundings]], retry_s: float
    ) -> None:
        """Have them show what they should, for ever."""
        while True:
            renew_at_s = self.tokens.renew_at_s
            with suppress(TimeoutError):
                async with asyncio.timeout(None if renew_at_s is None else max(0.0, renew_at_s - time.time())):
                    await self._stale.wait()
            self._stale.clear()
            try:
                self.make(pod(), await around())
            except ConfigError:
                continue  # until what is missing is there, which is told
            except (ApiError, OSError):
                await asyncio.sleep(retry_s)
                self._stale.set()
