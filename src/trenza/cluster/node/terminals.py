"""A container's own terminal: what it writes goes to its log and to whoever is attached, what they type goes to it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

_READ_BYTES = 1 << 16


class Terminal:
    """The master end of a container's pty, and the descriptor of its log; both are closed by `close`.

    It is the agent's: a container with `tty` gets a hang-up when the agent is killed.
    """

    def __init__(self, master: int, log: int | None) -> None:
        self.master = master
        self._log = log
        self._listeners: set[Callable[[bytes], None]] = set()
        os.set_blocking(master, False)
        asyncio.get_running_loop().add_reader(master, self._hear)

    def listen(self, listener: Callable[[bytes], None]) -> Callable[[], None]:
        """Have `listener` called with what is written from now on; the answer ends that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def _hear(self) -> None:
        try:
            data = os.read(self.master, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self.master)
            return
        if self._log is not None:
            with suppress(OSError):  # a full disk: who is attached sees it all the same
                os.write(self._log, data)
        for listener in list(self._listeners):
            listener(data)

    def close(self) -> None:
        if self.master < 0:
            return
        self._hear()
        asyncio.get_running_loop().remove_reader(self.master)
        os.close(self.master)
        self.master = -1
        if self._log is not None:
            os.close(self._log)
            self._log = None
