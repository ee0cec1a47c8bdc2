"""Work in forked processes: each with a deadline, an answer or the reason why there is none, and never orphaned."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from trenza.errors import TrenzaError
from trenza.linux import syscalls

T = TypeVar("T")
Answer = dict[str, Any]
_MAX_ANSWER_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """A piece of work that is over: what it answered, or an error (`code`, `message`, `exit`); `answer` and `error` are
    both None where its time ran out. Times are of the monotonic clock."""

    work: T
    began_s: float
    ended_s: float
    answer: Answer | None = None
    error: Answer | None = None

    @property
    def timed_out(self) -> bool:
        return self.answer is None and self.error is None

    def overlaps(self, other: Done[T]) -> bool:
        return self.began_s < other.ended_s and other.began_s < self.ended_s


@dataclass(slots=True)
class _Running(Generic[T]):
    work: T
    pid: int
    pidfd: int
    pipe: int
    began_s: float
    said: bytearray = field(default_factory=bytearray)


def in_forks(
    todo: Sequence[T], do: Callable[[T], Answer], *, jobs: int, timeout_s: float, clean: Callable[[T], None]
) -> Iterator[Done[T]]:
    """Do pieces of work in forked children, so many at a time, each ending as it ends.

    A child whose time ran out is killed; `clean` then does here what it could not. Children die with this process, and
    with this generator.
    """
    waiting = list(reversed(todo))
    running: dict[int, _Running[T]] = {}
    poll = select.poll()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                one = _start(waiting.pop(), do)
                running[one.pipe] = one
                poll.register(one.pipe, select.POLLIN)
            first = min(one.began_s for one in running.values()) + timeout_s
            for descriptor, _ in poll.poll(max(0.0, first - time.monotonic()) * 1000):
                one = running[descriptor]
                data = os.read(descriptor, _MAX_ANSWER_BYTES)
                one.said += data
                if not data:
                    poll.unregister(descriptor)
                    yield _ended(running.pop(descriptor))
            for one in [one for one in running.values() if time.monotonic() >= one.began_s + timeout_s]:
                poll.unregister(one.pipe)
                _kill(running.pop(one.pipe))
                clean(one.work)
                yield Done(one.work, one.began_s, time.monotonic())
    finally:
        for one in running.values():
            _kill(one)
            clean(one.work)


def _start(work: T, do: Callable[[T], Answer]) -> _Running[T]:
    reading, writing = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(writing)
        return _Running(work, pid, os.pidfd_open(pid), reading, time.monotonic())
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        # Whoever forked us hears it too, and ends us. Not SIG_IGN: whatever is executed from here would inherit that.
        signal.signal(signal.SIGINT, lambda *_: None)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(reading)
        os.write(writing, json.dumps(_attempt(work, do)).encode())
    finally:
        os._exit(0)


def _attempt(work: T, do: Callable[[T], Answer]) -> Answer:
    """The root of a child: whatever fails becomes its answer."""
    try:
        return {"answer": do(work)}
    except TrenzaError as error:
        return {"error": {"code": error.code, "message": error.message[:4000], "exit": error.exit_code,
                          "hint": error.hint and error.hint[:4000]}}  # fmt: skip
    except Exception as error:
        where = traceback.format_exc(limit=-3)
        return {"error": {"code": "internal", "message": f"{type(error).__name__}: {error}"[:4000], "exit": 1,
                          "hint": where[-4000:]}}  # fmt: skip


def _ended(one: _Running[T]) -> Done[T]:
    _reap(one)
    try:
        said = json.loads(bytes(one.said))
    except ValueError:
        said = {"error": {"code": "killed", "message": "its process was killed", "exit": 1, "hint": None}}
    return Done(one.work, one.began_s, time.monotonic(), said.get("answer"), said.get("error"))


def _kill(one: _Running[T]) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(one.pidfd, signal.SIGKILL)
    _reap(one)


def _reap(one: _Running[T]) -> None:
    os.waitpid(one.pid, 0)
    os.close(one.pidfd)
    os.close(one.pipe)
