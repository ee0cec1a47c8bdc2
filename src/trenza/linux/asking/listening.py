"""A thread that takes in frames of several namespaces while questions are asked, so that the kernel need drop none."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from trenza.linux.capture_sockets import Frame, PacketSocket

_AT_A_TIME: Final = 256
_AT_ONCE: Final = 4096


class Listener:
    """In `with`: every frame of the sockets goes to `take`, which is called under one lock. Closes the sockets."""

    def __init__(self, sockets: Sequence[PacketSocket], take: Callable[[int, Frame], None]) -> None:
        """`take` gets the place of the socket in `sockets` and a frame of it."""
        self._sockets = tuple(sockets)
        self._take = take
        self._lock = threading.Lock()
        self._dropped = 0
        self._error: Exception | None = None
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    @property
    def is_open(self) -> bool:
        """Whether it listens still."""
        return self._stop.fileno() >= 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take in what waits, end the thread, close the sockets. Raises what the thread ended by."""
        with suppress(OSError):
            self._stop.send(b"x")
        self._thread.join()
        try:
            self.catch_up()
            with self._lock:
                self._count_dropped()
        finally:
            for one in self._sockets:
                one.close()
            self._stop.close()
            self._stopped.close()
        if self._error is not None:
            raise self._error

    def catch_up(self) -> None:
        """Take in all that waits now. A frame that led to an answer we have waits already."""
        with self._lock:
            for place, one in enumerate(self._sockets):
                self._receive(place, one, _AT_ONCE)

    def dropped(self) -> int:
        """How many frames the kernel dropped because nobody took them in time."""
        with self._lock:
            return self._count_dropped()

    def _count_dropped(self) -> int:
        if self.is_open:
            self._dropped = sum(one.dropped() for one in self._sockets)
        return self._dropped

    def _receive(self, place: int, one: PacketSocket, limit: int) -> None:
        for frame in one.receive(limit):
            self._take(place, frame)

    def _run(self) -> None:
        poll = select.poll()
        places = {one.fileno(): (place, one) for place, one in enumerate(self._sockets)}
        links = {descriptor: one for one in self._sockets if (descriptor := one.links_fileno()) is not None}
        for descriptor in (*places, *links, self._stopped.fileno()):
            poll.register(descriptor, select.POLLIN)
        try:
            while True:
                events = [descriptor for descriptor, _ in poll.poll()]
                if self._stopped.fileno() in events:
                    return
                with self._lock:
                    for descriptor in events:
                        if descriptor in links:
                            links[descriptor].follow_links()
                        else:
                            self._receive(*places[descriptor], _AT_A_TIME)
        except Exception as error:  # the thread's root: whoever stops it hears of it
            self._error = error
