"""A capture: frames of some nodes, in one stream, until somebody has had enough.

A capture is a process of its own, a child of the keeper: its load is not the keeper's, a stranger's frames are taken
apart where nothing is to be had, and the sandbox's end is its end. The keeper starts what `command` says; the nodes'
network namespaces, the output and the rest are inherited descriptors, whose numbers the settings carry.

It ends by itself at its limits, when the reader of the output has gone, when the control pipe closes, and at SIGTERM or
SIGINT; always with the frames seen so far written out.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from trenza.errors import KernelError, TrenzaError, UsageError
from trenza.linux import syscalls
from trenza.linux.capture_filter import compiled
from trenza.linux.capture_order import Ordering
from trenza.linux.capture_output import Drops, Format, Output, PcapngFormat, ReaderGoneError, SummaryFormat
from trenza.linux.capture_sockets import Frame, PacketSocket
from trenza.linux.netns import Home
from trenza.linux.pcapng import DEFAULT_SNAPLEN_BYTES
from trenza.model.names import Interface, NicName, NodeName

READY: Final = b"ready\n"

_ROUND_FRAMES: Final = 256
_STANDARD_ERROR: Final = 2
_USUAL_NIC: Final = "eth0"
_CAPABILITY_HEADER: Final = (0x20080522).to_bytes(4, sys.byteorder) + bytes(4)
_NO_CAPABILITIES: Final = bytes(24)


@dataclass(frozen=True, slots=True)
class Source:
    """What to look at: an interface of a node, or with `nic` None all it has, at any time. `netns` is a descriptor."""

    netns: int
    node: NodeName
    nic: NicName | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """One capture. `output`, `control`, `ready` and `messages` are descriptors of the process that runs it.

    With `pcapng` the output is a pcapng stream, else a line a frame. `ready` gets the line `ready` once every socket is
    open, and is closed; the capture ends when the other end of `control` closes. `messages` gets what people are told:
    what is listened to, the count at the end, an error; as JSON lines with `json_messages`.
    """

    sources: tuple[Source, ...]
    output: int = 1
    pcapng: bool = False
    expression: str = ""
    snaplen_bytes: int = DEFAULT_SNAPLEN_BYTES
    max_frames: int | None = None
    max_s: float | None = None
    control: int | None = None
    ready: int | None = None
    messages: int = _STANDARD_ERROR
    json_messages: bool = False
    comment: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Settings:
        """Settings that `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        sources = tuple(Source(**source) for source in fields.pop("sources"))
        return Settings(sources, **fields)

    def checked(self) -> Settings:
        """Itself. Raises UsageError for limits that cannot be meant."""
        if not self.sources:
            raise UsageError("a capture needs at least one node or interface")
        if not 1 <= self.snaplen_bytes <= DEFAULT_SNAPLEN_BYTES:
            raise UsageError(f"a snap length lies between 1 and {DEFAULT_SNAPLEN_BYTES} bytes")
        if self.max_frames is not None and self.max_frames < 1:
            raise UsageError("a capture of fewer than 1 frame is none")
        if self.max_s is not None and not 0 < self.max_s < float("inf"):
            raise UsageError("a capture's duration is more than 0 seconds")
        return self


def command(settings: Settings) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The command line of a capture and the descriptors to pass on, for `subprocess.Popen`.

    Raises UsageError for settings that cannot be meant.
    """
    settings.checked()
    named = [source.netns for source in settings.sources]
    named += [settings.output, settings.messages]
    named += [descriptor for descriptor in (settings.control, settings.ready) if descriptor is not None]
    inherited = tuple(sorted({descriptor for descriptor in named if descriptor > _STANDARD_ERROR}))
    # -P: a module of the same name in whatever directory the keeper runs in is not ours.
    return (sys.executable, "-P", "-m", "trenza.linux.capture", settings.to_json()), inherited


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a capture came to."""

    frames: int
    drops: tuple[Drops, ...]

    @property
    def dropped(self) -> int:
        return sum(drop.frames for drop in self.drops)


class Messages:
    """What people are told while a capture runs: sentences, or JSON lines."""

    def __init__(self, descriptor: int, *, as_json: bool) -> None:
        self._descriptor = descriptor
        self._as_json = as_json

    def tell(self, sentence: str, event: str, fields: Mapping[str, object]) -> None:
        line = json.dumps({"event": event, **fields}) if self._as_json else sentence
        try:
            os.write(self._descriptor, f"{line}\n".encode(errors="replace"))
        except OSError:  # nobody listens any more; the capture goes on
            pass

    def listening(self, settings: Settings) -> None:
        where = [f"{one.node}.{one.nic}" if one.nic else one.node for one in settings.sources]
        sentence = f"listening on {', '.join(where)}"
        if settings.expression:
            sentence += f" for '{settings.expression}'"
        self.tell(sentence, "listening", {"on": where, "filter": settings.expression})

    def ended(self, outcome: Outcome) -> None:
        noun = "frame" if outcome.frames == 1 else "frames"
        where = [f"{drop.node}.{drop.nic}" if drop.nic else drop.node for drop in outcome.drops if drop.frames]
        sentence = f"{outcome.frames} {noun} captured, {outcome.dropped} dropped by the kernel"
        if where:
            sentence += f" (at {', '.join(where)})"
        self.tell(sentence, "ended", {"frames": outcome.frames, "dropped": outcome.dropped})

    def failed(self, error: TrenzaError) -> None:
        fields = {"code": error.code, "message": error.message, "hint": error.hint, "exit": error.exit_code}
        self.tell(f"trenza: {error}", "error", fields)


class Capture:
    """The loop of one capture; everything it holds is open by the time `run` begins."""

    def __init__(self, settings: Settings, sockets: Sequence[PacketSocket], wakeup: int) -> None:
        self._settings = settings
        self._output = Output(settings.output)
        self._format = _format(settings)
        self._ordering: Ordering[Frame] = Ordering()
        self._sockets = {one.fileno(): one for one in sockets}
        self._links = {descriptor: one for one in sockets if (descriptor := one.links_fileno()) is not None}
        self._stops = [wakeup, *([] if settings.control is None else [settings.control])]
        self._poll = select.poll()
        for descriptor in (*self._sockets, *self._links, *self._stops):
            self._poll.register(descriptor, select.POLLIN)
        # Without a wish poll still reports that the reader of a pipe has gone.
        self._poll.register(settings.output, 0)
        self._frames = 0
        self._deadline_s = None if settings.max_s is None else time.monotonic() + settings.max_s

    def run(self) -> Outcome:
        """Capture until something ends it."""
        try:
            self._output.write(self._format.begin())
            while self._output.flush(self._stops, self._deadline_s) and self._round():
                pass
            self._drain()
            self._take(self._ordering.rest())
            drops = self._drops()
            self._output.write(self._format.end(drops))
            self._output.farewell()
        except ReaderGoneError:
            drops = self._drops()
        return Outcome(self._frames, drops)

    def _round(self) -> bool:
        """Wait for something and deal with it; False when that was the end."""
        events = dict(self._poll.poll(self._wait_ms()))
        if any(descriptor in events for descriptor in self._stops):
            return False
        if events.get(self._settings.output, 0) & (select.POLLERR | select.POLLHUP):
            raise ReaderGoneError
        for descriptor in events:
            if descriptor in self._links:
                self._links[descriptor].follow_links()
            elif descriptor in self._sockets:
                self._receive(self._sockets[descriptor], _ROUND_FRAMES)
        now_s = time.monotonic()
        self._take(self._ordering.ready(now_s))
        return not self._full() and (self._deadline_s is None or now_s < self._deadline_s)

    def _receive(self, one: PacketSocket, limit: int) -> None:
        now_s = time.monotonic()
        for frame in one.receive(limit):
            self._ordering.push(frame.timestamp_ns, now_s, frame)

    def _drain(self) -> None:
        """The frames that waited when the end came; not those that keep coming."""
        if not self._full():
            for one in self._sockets.values():
                self._receive(one, 8 * _ROUND_FRAMES)

    def _take(self, frames: Iterable[Frame]) -> None:
        """Pass frames on, up to the limit."""
        if self._full():
            return
        lines = []
        for frame in frames:
            lines.append(self._format.frame(frame))
            self._frames += 1
            if self._full():
                break
        self._output.write(b"".join(lines))

    def _full(self) -> bool:
        return self._settings.max_frames is not None and self._frames >= self._settings.max_frames

    def _drops(self) -> tuple[Drops, ...]:
        return tuple(Drops(one.node, one.nic, one.dropped()) for one in self._sockets.values())

    def _wait_ms(self) -> float | None:
        """Until a held frame is due or the time is up; None: until something happens."""
        now_s = time.monotonic()
        waits_s = [] if self._deadline_s is None else [max(0.0, self._deadline_s - now_s)]
        held_s = self._ordering.wait_s(now_s)
        if held_s is not None:
            waits_s.append(held_s)
        # poll counts whole milliseconds, and 0 would make the wait a spin.
        return min(waits_s) * 1000 + 1 if waits_s else None


def _format(settings: Settings) -> Format:
    if not settings.pcapng:
        return SummaryFormat(max(len(f"{one.node}.{one.nic or _USUAL_NIC}") for one in settings.sources))
    return PcapngFormat(
        [Interface(one.node, one.nic) for one in settings.sources if one.nic is not None],
        expression=settings.expression,
        snaplen_bytes=settings.snaplen_bytes,
        comment=settings.comment,
    )


def _opened(settings: Settings, stack: ExitStack) -> list[PacketSocket]:
    """A socket for each source, one of a whole node standing for that node's others; the stack closes them."""
    program = compiled(settings.expression, settings.snaplen_bytes)
    whole = {one.node for one in settings.sources if one.nic is None}
    wanted = {(one.node, one.nic): one for one in settings.sources if one.nic is None or one.node not in whole}.values()
    home = Home()
    try:
        return [
            stack.enter_context(PacketSocket(home, one.netns, one.node, one.nic, program, settings.snaplen_bytes))
            for one in wanted
        ]
    finally:
        home.close()


def _give_up_privilege() -> None:
    """From here on strangers' bytes are taken apart; sockets that are open need no capability."""
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.capset(_CAPABILITY_HEADER, _NO_CAPABILITIES)


def run(settings: Settings) -> Outcome:
    """One capture in this process, from opening to the end. Raises TrenzaError."""
    settings.checked()
    with ExitStack() as stack:
        wakeup, signalled = socket.socketpair()
        stack.enter_context(wakeup)
        stack.enter_context(signalled)
        signalled.setblocking(False)
        signal.set_wakeup_fd(signalled.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)  # the byte on `wakeup` is what counts
        sockets = _opened(settings, stack)
        _give_up_privilege()
        capture = Capture(settings, sockets, wakeup.fileno())
        messages = Messages(settings.messages, as_json=settings.json_messages)
        messages.listening(settings)
        if settings.ready is not None:
            with suppress(BrokenPipeError):  # whoever asked has stopped waiting
                os.write(settings.ready, READY)
            os.close(settings.ready)
        outcome = capture.run()
        messages.ended(outcome)
        return outcome


def main(argv: Sequence[str]) -> int:
    """`python -m trenza.linux.capture SETTINGS`: the exit code."""
    settings = Settings.from_json(argv[1])
    try:
        run(settings)
    except TrenzaError as error:
        Messages(settings.messages, as_json=settings.json_messages).failed(error)
        return error.exit_code
    except OSError as error:
        failure = KernelError(f"the capture failed: {error}", errno=error.errno or 0)
        Messages(settings.messages, as_json=settings.json_messages).failed(failure)
        return failure.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
