"""Supervision of declared processes: when they count as ready, and what happens when they end."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from trenza.engine.engine import Engine
from trenza.errors import KernelError
from trenza.keeper.stops import until_started_by_hand
from trenza.linux import beneath
from trenza.linux.exits import exit_words, find_exit_code, is_reaped
from trenza.linux.inside import SandboxNodes
from trenza.linux.netns import Home
from trenza.linux.probes import connects
from trenza.model.state import Process, Restart
from trenza.services.daemons import Refusal, refusals
from trenza.wire import Message

_POLL_S = 0.02
_REAPED_WITHIN_S = 1.0
_MAX_BACKOFF_S = 10.0
LOG_TAIL_BYTES = 2000
_SAID_BYTES = 1 << 20
"""Of what a service wrote since it was started, the end that is read."""


@dataclass(frozen=True, slots=True)
class Unready:
    """A service that did not become ready: why, the last it said, and what it says against its config."""

    process: Process
    reason: str
    output: str
    refusals: tuple[Refusal, ...] = ()

    def words(self) -> str:
        """What is wrong, in a line."""
        if not self.refusals:
            return f"{self.process.name}: {self.reason}"
        first = self.refusals[0]
        place = "" if first.file is None else f"{first.file}:{first.line}: "
        return f"{self.process.name} refuses its config: {place}{first.text}"

    def as_json(self) -> Message:
        return {
            "node": self.process.node,
            "service": self.process.name,
            "reason": self.reason,
            "output": self.output,
            "refusals": [{"file": one.file, "line": one.line, "text": one.text} for one in self.refusals],
        }


def backoff_s(restarts: int) -> float:
    """How long to wait before restart number `restarts` + 1: 0.1 s doubling up to 10 s."""
    return float(min(_MAX_BACKOFF_S, 0.1 * 2 ** min(restarts, 16)))


class Supervisor:
    """Watches the declared processes of one lab through pidfds; `run` executes a command in a node."""

    def __init__(
        self,
        engine: Engine,
        nodes: SandboxNodes,
        home: Home,
        run: Callable[[str, tuple[str, ...]], Awaitable[int]],
    ) -> None:
        self._engine = engine
        self._nodes = nodes
        self._home = home
        self._run = run
        self._watched: dict[tuple[str, str], tuple[int, int]] = {}
        self._returning: set[tuple[str, str]] = set()
        self._resting: set[tuple[str, str]] = set()
        """Those that are not started again until somebody does: stopped by hand, or with a config that they refuse."""
        self._ends: dict[tuple[str, str], str] = {}
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self) -> None:
        """Watch every declared process that runs and is not watched yet; see to those that died unwatched."""
        alive = self._nodes.alive()
        for process in self._declared():
            key = (process.node, process.name)
            if key in self._watched and self._watched[key][0] == self._nodes.pid_of_start(process):
                continue
            taken = self._nodes.take_pidfd(process)
            if taken is None:
                if key not in self._watched and process.node in alive and self._nodes.has_died(process):
                    self._settle(process, None)
                continue
            self._forget(key)
            self._returning.discard(key)
            self._resting.discard(key)
            self._watched[key] = taken
            self._loop.add_reader(taken[1], self._see_end, process, *taken)

    def _declared(self) -> list[Process]:
        return [thing for thing in self._engine.wanted if isinstance(thing, Process)]

    def _forget(self, key: tuple[str, str]) -> None:
        known = self._watched.pop(key, None)
        if known is not None:
            self._loop.remove_reader(known[1])
            os.close(known[1])

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _see_end(self, process: Process, pid: int, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        self._spawn(self._ended(process, pid, descriptor))

    async def _ended(self, process: Process, pid: int, descriptor: int) -> None:
        until = self._loop.time() + _REAPED_WITHIN_S
        while not is_reaped(descriptor) and self._loop.time() < until:
            await asyncio.sleep(_POLL_S)  # the node's init is about to reap it; nobody tells us when it has
        key = (process.node, process.name)
        if self._watched.get(key) != (pid, descriptor):
            return  # it was replaced meanwhile
        code = find_exit_code(descriptor)
        self._forget(key)
        self._nodes.end_rest(pid)
        self._settle(process, code)

    def _settle(self, process: Process, code: int | None) -> None:
        """What happens after an end: `code` is None where the kernel does not tell, and then counts as a failure."""
        key = (process.node, process.name)
        if key in self._returning or process.node not in self._nodes.alive() or process not in self._declared():
            return
        self._ends[key] = exit_words(code)
        said = f"{process.name}: {exit_words(code)}"
        by_hand = self._nodes.stop_by_hand(process) is not None
        refused = not by_hand and bool(self._refusals(process))
        said += ", stopped by hand" if by_hand else ", it refuses its config" if refused else ""
        self._engine.journal.say("service", process.node, said, service=process.name, state="dead", status=code)
        if by_hand or (refused and self._leave_to_hands(process)):
            self._returning.add(key)
            self._resting.add(key)
            self._spawn(self._resume(process))
            return
        if refused or process.restart is Restart.NO or (process.restart is Restart.ON_FAILURE and code == 0):
            self._nodes.give_up(process)
            return
        self._returning.add(key)
        self._spawn(self._restart(process, backoff_s(self._engine.restarted(process))))

    def _leave_to_hands(self, process: Process) -> bool:
        """Whether a service that refuses its config now waits for whoever mends that in the node."""
        try:
            self._nodes.leave_to_hands(process)
        except KernelError as error:
            self._engine.journal.say("error", process.node, error.message)
            return False
        return True

    async def _resume(self, process: Process) -> None:
        await until_started_by_hand(self._nodes, process)
        self._resting.discard((process.node, process.name))
        await self._restart(process, 0)

    async def _restart(self, process: Process, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self._returning.discard((process.node, process.name))
        if process.node not in self._nodes.alive() or process not in self._declared():
            return
        if self._nodes.is_running(process):
            return
        try:
            self._nodes.start(process)
        except KernelError as error:
            self._engine.journal.say("service", process.node, f"{process.name} cannot be restarted: {error.message}")
            return
        self._engine.journal.say(
            "service", process.node, f"{process.name} restarted", service=process.name, state="running"
        )
        self._engine.hold_faults()
        self.watch()

    # ------------------------------------------------------------------ readiness
    async def unready(self, processes: list[Process]) -> list[Unready]:
        """Wait for all of them at once, each to its own deadline; those that did not become ready."""
        results = await asyncio.gather(*(self._await_ready(process) for process in processes))
        return [result for result in results if result is not None]

    async def _await_ready(self, process: Process) -> Unready | None:
        until = self._loop.time() + process.ready.deadline_s
        while True:
            if await self._is_ready(process):
                refused = self._refusals(process)  # keepalived goes on without the lines that it does not understand
                return Unready(process, "running, without what it refuses", "", refused) if refused else None
            reason = None
            key = (process.node, process.name)
            runs = self._nodes.pid_of_process(process) is not None
            if not runs and (key in self._resting or not self._nodes.has_died(process)):
                reason = self._ends.get(key, "it ended")
            elif self._loop.time() >= until:
                reason = f"not ready after {process.ready.deadline_s:g} s"
            if reason is not None:
                return Unready(process, reason, self.last_output(process), self._refusals(process))
            await asyncio.sleep(_POLL_S)

    async def _is_ready(self, process: Process) -> bool:
        ready = process.ready
        handle = self._nodes.alive().get(process.node)
        if handle is None or handle.pid is None:
            return False
        if ready.tcp is not None:
            return connects(self._home, handle.netns, ready.tcp)
        if ready.file is not None:
            with beneath.root_of(handle.pid) as root:
                try:
                    os.close(beneath.open_in_root(root, ready.file, os.O_PATH))
                except OSError:
                    return False
            return True
        if ready.log is not None:
            return ready.log in self.last_output(process, limit_bytes=_SAID_BYTES)
        if ready.command is not None:
            return await self._run(process.node, ready.command) == 0
        return self._nodes.pid_of_process(process) is not None

    def _refusals(self, process: Process) -> tuple[Refusal, ...]:
        return refusals(process.name, self.last_output(process, limit_bytes=_SAID_BYTES))

    def last_output(self, process: Process, *, limit_bytes: int = LOG_TAIL_BYTES) -> str:
        """The end of what the service wrote to its log since it was started."""
        handle = self._nodes.alive().get(process.node)
        if handle is None or handle.pid is None:
            return ""
        try:
            with beneath.root_of(handle.pid) as root:
                descriptor = beneath.open_in_root(root, f"/var/log/{process.name}.log", os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return ""
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):  # the node's root can put anything there
                return ""
            begin = self._nodes.log_start(process)
            if begin > status.st_size:  # somebody emptied it
                begin = 0
            begin = max(begin, status.st_size - limit_bytes)
            return os.pread(descriptor, limit_bytes, begin).decode(errors="replace")
        except OSError:
            return ""
        finally:
            os.close(descriptor)
