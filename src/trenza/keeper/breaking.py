"""Faults on request, and those that heal by themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from trenza.engine.engine import Engine
from trenza.engine.faults import ActiveFault
from trenza.errors import TrenzaError
from trenza.fault.catalogue import Fault
from trenza.fault.reading import duration_s
from trenza.keeper.connection import Connection
from trenza.wire import Message


class Breaking:
    """Answers `fault` and `heal`; `attend` looks after what a fault or its end left behind."""

    def __init__(self, engine: Engine, busy: asyncio.Lock, attend: Callable[[], None]) -> None:
        self._engine = engine
        self._busy = busy
        self._attend = attend
        self._loop = asyncio.get_running_loop()
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def adopt(self) -> None:
        """Set the clocks of faults that a keeper before us injected."""
        for active in self._active():
            self._set_clock(active)

    def _active(self) -> list[ActiveFault]:
        return [] if self._engine.faults is None else self._engine.faults.active

    def _is_active(self, fault: ActiveFault) -> bool:
        return self._engine.faults is not None and self._engine.faults.find_active(fault) is not None

    async def fault(self, connection: Connection, message: Message) -> None:
        """Inject a fault."""
        for_s = duration_s(message["for"]) if message.get("for") else None
        async with self._busy:
            fault = self._engine.read_fault(message["words"], message.get("options") or {})
            active = self._engine.break_(fault, for_s=for_s)
            self._attend()
        self._set_clock(active)
        connection.send({"result": {"fault": fault_view(active)}})

    async def inject(self, fault: Fault) -> ActiveFault:
        """Inject a fault that was read already."""
        async with self._busy:
            active = self._engine.break_(fault)
            self._attend()
        return active

    async def undo(self, active: ActiveFault) -> None:
        """Heal a fault, unless somebody else did."""
        async with self._busy:
            if self._is_active(active):
                self._engine.heal([active])
                self._attend()

    async def heal(self, connection: Connection, message: Message) -> None:
        """Undo one fault, or all."""
        faults = self._engine.faults
        async with self._busy:
            healed = [] if faults is None else faults.find(message.get("words") or ())
            try:
                self._engine.heal(healed)
            finally:
                for active in healed:
                    if not self._is_active(active):
                        self._stop_clock(active)
                self._attend()
        connection.send({"result": {"healed": [fault_view(active) for active in healed]}})

    def _set_clock(self, active: ActiveFault) -> None:
        if active.until_s is not None:
            left_s = max(0.0, active.until_s - time.time())
            self._timers[active.id] = self._loop.call_later(left_s, self._due, active)

    def _stop_clock(self, active: ActiveFault) -> None:
        timer = self._timers.pop(active.id, None)
        if timer is not None:
            timer.cancel()

    def _due(self, active: ActiveFault) -> None:
        self._timers.pop(active.id, None)
        task = self._loop.create_task(self._heal_due(active))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _heal_due(self, active: ActiveFault) -> None:
        async with self._busy:
            if not self._is_active(active):
                return
            try:
                self._engine.heal([active])
            except TrenzaError as error:
                self._engine.journal.say("error", "", f"{active.text} could not be healed: {error.message}")
            self._attend()


def fault_view(active: ActiveFault) -> dict[str, Any]:
    """A fault as plain data."""
    return {
        "id": active.id,
        "fault": active.text,
        "since": active.since_s,
        "until": active.until_s,
        "down": [str(interface) for interface in active.down],
    }
