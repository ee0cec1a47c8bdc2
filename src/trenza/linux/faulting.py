"""What faults do to the processes and interfaces of a sandbox's nodes, and how it is seen that they did."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence

from trenza.errors import KernelError
from trenza.fault.catalogue import Impairment
from trenza.linux.impair import Impairments
from trenza.linux.inside import SERVICE_VARIABLE, SandboxNodes, SpawnerClient
from trenza.linux.netns import Home
from trenza.linux.processes import RunningProcess, command_of, of_service, own_processes, signal_all
from trenza.model.names import Interface, NodeName

PROGRAMS = {"apache": "apache2", "syslog": "busybox"}
"""Programs of services that are not called like them."""

_SHOWS_WITHIN_S = 3.0


class FaultyNodes:
    """Implements `trenza.engine.faults.FaultNodes` for a sandbox.

    `clustered` tells what of a cluster belongs to a node, by name, and the pid of what runs: whoever asks is who starts
    it again when no fault keeps it from running.
    """

    def __init__(
        self,
        nodes: SandboxNodes,
        home: Home,
        clustered: Callable[[NodeName], Mapping[str, int | None]] = lambda node: {},
    ) -> None:
        self._nodes = nodes
        self._clustered = clustered
        self._impairments = Impairments(home)

    # ------------------------------------------------------------------ processes
    def service_names(self, node: NodeName) -> list[str]:
        """What runs in a node, declared or by hand: names that a fault may give."""
        handle = self._nodes.alive().get(node)
        if handle is None or handle.pid is None:
            return []
        declared = self._nodes.services_of(node)
        mine = {one.pid for service in declared for one in self._processes(node, service)}
        services = {program: service for service, program in PROGRAMS.items()}
        others = {services.get(one.name, one.name) for one in own_processes(handle.pid) if one.pid not in mine}
        return sorted({*declared, *others, *self._clustered(node)})

    def service_pids(self, node: NodeName, service: str) -> Sequence[int]:
        return [one.pid for one in self._processes(node, service)]

    def _processes(self, node: NodeName, service: str) -> list[RunningProcess]:
        handle = self._nodes.alive().get(node)
        if handle is None or handle.pid is None:
            return []
        clustered = self._clustered(node)
        if service in clustered:  # that one process: what it started (a pod, say) is another matter
            return [one for one in own_processes(handle.pid) if one.pid == clustered[service]]
        declared = self._nodes.pid_of_service(node, service)
        found = of_service(handle.pid, PROGRAMS.get(service, service), declared)
        if declared is not None:
            return found
        # One that was started by hand is no declared service that happens to run the same program.
        others = {self._nodes.pid_of_service(node, name) for name in self._nodes.services_of(node)}
        return [one for one in found if one.session not in others]

    def signal_service(self, node: NodeName, service: str, number: signal.Signals) -> None:
        until = time.monotonic() + _SHOWS_WITHIN_S
        signalled: set[int] = set()
        while True:
            there = self._processes(node, service)
            new = {one.pid for one in there} - signalled  # children that were born meanwhile
            signal_all(new, number)
            signalled |= new
            if number is signal.SIGTERM or (not new and _shows(there, number)):
                return  # whoever is asked to end takes its time, and the network shall be watched meanwhile
            if time.monotonic() > until:
                raise KernelError(f"{service} of {node} did not take {number.name}")
            time.sleep(0.002)  # a stopped or ended process of somebody else's tells nobody

    def service_command(self, node: NodeName, service: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
        if service in self._clustered(node):
            return (), ()
        processes = self._processes(node, service)
        pids = {one.pid for one in processes}
        first = next((one for one in processes if one.parent not in pids), None)
        argv, env = command_of(first.pid) if first is not None else ([], {})
        return tuple(argv), tuple(sorted(env.items()))

    def run_detached(self, node: NodeName, argv: Sequence[str], env: Mapping[str, str]) -> None:
        client = SpawnerClient()
        try:
            log = f"/var/log/{argv[0].rsplit('/', 1)[-1]}.log"
            kept = {name: value for name, value in env.items() if name != SERVICE_VARIABLE}
            client.ask({"do": "exec", "node": node, "argv": list(argv), "env": kept, "detach": True, "log": log})
        finally:
            client.close()

    # ------------------------------------------------------------------ interfaces
    def require(self, how: Impairment) -> None:
        self._impairments.require(how)

    def impair(self, interface: Interface, how: Impairment | None) -> None:
        handle = self._nodes.alive().get(interface.node)
        if handle is None:
            return  # its interfaces, and what was on them, went with it
        self._impairments.take_off(handle.netns, interface.nic)
        if how is not None:
            self._impairments.put(handle.netns, interface.nic, how)
            if not self._impairments.is_on(handle.netns, interface.nic, how):
                raise KernelError(f"the impairment of {interface} did not take effect")


def _shows(processes: Sequence[RunningProcess], number: signal.Signals) -> bool:
    """Whether a signal has had its effect on what is left of a service."""
    match number:
        case signal.SIGSTOP:
            return all(one.state in ("T", "t") for one in processes)
        case signal.SIGCONT:
            return all(one.state not in ("T", "t") for one in processes)
        case _:
            return not processes
