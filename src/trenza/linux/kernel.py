"""LinuxKernel: performs plans on real namespaces, and says what is there."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import groupby

from trenza.errors import KernelError
from trenza.linux import netns, rtnetlink, rtnetlink_dump, sysctl
from trenza.linux.measure import measurements
from trenza.linux.netlink import NetlinkSocket, Traffic
from trenza.linux.nodes import NodeHandle, Nodes, RenamingNodes
from trenza.linux.observe import Observer
from trenza.linux.perform import Run
from trenza.linux.snapshot import FIRST_INDEX, NodeView, is_veth, veth_pairs
from trenza.linux.sockets import NodeSockets
from trenza.linux.watch import NetworkWatch
from trenza.linux.words import operation_words
from trenza.model.measurements import Measurements
from trenza.model.names import Interface, NodeName
from trenza.model.state import File, Node, Process, State, Sysctl, Thing
from trenza.plan.operations import Change, Create, Operation, Plan, Remove
from trenza.plan.wanted import BORN_SYSCTLS, WATCHED_SYSCTLS


class LinuxKernel:
    """Implements `trenza.plan.kernel.Kernel` over the namespaces that a `Nodes` makes. `close` it.

    Not for several threads at once: it enters namespaces with the calling thread and comes back.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._sockets = NodeSockets(nodes)
        self._views: dict[NodeName, NodeView] = {}
        self._observer = Observer()
        self._unraised: set[NodeName] = set()
        self._fresh: set[NodeName] = set()
        self._next_index: int | None = None

    def close(self) -> None:
        self._sockets.close()

    @property
    def traffic(self) -> Traffic:
        """What was said to the kernel so far."""
        return self._sockets.traffic

    # Kernel

    def perform(self, plan: Plan, done: Callable[[Operation], None] = lambda operation: None) -> None:
        """Do the operations in order, calling `done` after each. Every carrier is flushed when it returns.

        Operations travel together where they can, and `done` is called when such a stretch of them has happened.
        Raises KernelError at the first refusal; the operations before it have happened.
        """
        self._sockets.refresh()
        self._fresh.clear()
        self._unraised.clear()
        try:
            for phase, group in groupby(plan, key=_phase):
                self._perform_phase(phase, list(group), done)
        finally:
            for name in self._unraised & self.alive().keys():
                self.sock(name).send([rtnetlink.set_link(1, up=True)])
            self._unraised.clear()

    def observe(self, expected: State) -> State:
        """What is there, whoever made it; of sysctls, files and processes those that `expected` names."""
        views = self._look()
        things = list(self._observer.things(views, self.sock, expected))
        things += self._sysctls(expected)
        things += self._nodes.placed(expected)
        return State.of(things)

    def measure(self, nodes: Collection[NodeName] | None = None) -> Measurements:
        """What was learnt, counted and decided, of some nodes or of all."""
        views = self._look(links_only=True)
        asked = [name for name in views if nodes is None or name in nodes]
        return measurements(views, asked, self.sock, veth_pairs(views, self.sock))

    def watch(self, *, neighbours: bool = True, follow: bool = True) -> NetworkWatch:
        """A watch over the nodes that live now, or over none; tell it of others by `follow`. Whoever asks closes it."""
        watch = NetworkWatch(
            lambda name, groups: self._sockets.listener(name, *groups),
            lambda name: rtnetlink_dump.links(self.sock(name).dump(rtnetlink.DUMP_LINKS)),
            neighbours=neighbours,
        )
        if follow:
            watch.follow(self.alive())
        return watch

    # Ground (what a run asks for)

    def alive(self) -> Mapping[NodeName, NodeHandle]:
        return self._sockets.refresh()

    def handle(self, node: NodeName) -> NodeHandle:
        return self._sockets.handle(node)

    def sock(self, node: NodeName) -> NetlinkSocket:
        return self._sockets.sock(node)

    def watcher(self, node: NodeName, group: int) -> NetlinkSocket:
        return self._sockets.listener(node, group)

    def write_sysctl(self, node: NodeName, name: str, value: str) -> None:
        with self._sockets.home.inside(self.handle(node).netns):
            sysctl.write_here(name, value)

    def take_unraised(self, node: NodeName) -> bool:
        if node in self._unraised:
            self._unraised.remove(node)
            return True
        return False

    def is_paired(self, interface: Interface) -> bool:
        views = self._look(links_only=True)
        link = views[interface.node].by_name.get(interface.nic)
        return link is not None and (not is_veth(link) or interface in veth_pairs(views, self.sock))

    def new_index(self, *nodes: NodeName) -> int:
        if self._next_index is None:
            self._next_index = self._highest_index() + 1
        old = [self.sock(node).fileno() for node in nodes if node not in self._fresh]
        while any(netns.find_name(descriptor, self._next_index) is not None for descriptor in old):
            self._next_index += 1
        index = self._next_index
        self._next_index += 1
        return index

    def _highest_index(self) -> int:
        """The highest ifindex in use in a lab that was there before this process; else the one before the first."""
        highest = FIRST_INDEX - 1
        for name, view in self._look(links_only=True, skip=self._fresh).items():
            if name not in self._fresh:
                highest = max(highest, *(link.index for link in view.links), *(link.lower for link in view.links))
        return highest

    # Phases of a plan

    def _perform_phase(self, phase: str, operations: Sequence[Operation], done: Callable[[Operation], None]) -> None:
        match phase:
            case "spawn":
                self._spawn([operation.thing for operation in operations if isinstance(operation.thing, Node)])  # type: ignore[union-attr]
            case "stop":
                self._stop([operation.thing.name for operation in operations if isinstance(operation.thing, Node)])  # type: ignore[union-attr]
            case "placed":
                for operation in operations:
                    self._perform_placed(operation)
                    done(operation)
                return
            case _:
                Run(self, operations).perform(done)
                return
        for operation in operations:
            done(operation)

    def _spawn(self, nodes: Sequence[Node]) -> None:
        self._nodes.spawn(nodes)
        names = [node.name for node in nodes]
        handles = self.alive()
        for name in names:
            if name not in handles:
                raise KernelError(f"{name} ended as soon as it was made")
            self._views.pop(name, None)
        self._fresh.update(names)
        self._unraised.update(names)
        wrong: list[tuple[str, str]] = []
        for place, name in enumerate(names):
            with self._sockets.home.inside(handles[name].netns):
                if place == 0:
                    # new namespaces are all alike: what the first has, the others have
                    values = {one: sysctl.find_here(one) for one in BORN_SYSCTLS}
                    wrong = [(one, value) for one, value in BORN_SYSCTLS.items() if values[one] not in (None, value)]
                try:
                    for one, value in wrong:
                        sysctl.write_here(one, value)
                except OSError as error:
                    raise KernelError(
                        f"could not set {one} of the new node {name}: {error.strerror}", errno=error.errno or 0
                    ) from error

    def _stop(self, names: Sequence[NodeName]) -> None:
        """End nodes. Cables to nodes that stay go first: the kernel frees namespaces when it pleases."""
        handles = self.alive()
        dying = {name for name in handles if name in names or handles[name].node.host in names}
        if len(dying) < len(handles):
            views = self._look(links_only=True)
            pairs = veth_pairs({name: views[name] for name in dying if name in views}, self.sock)
            for name in dying & views.keys():
                inner = {interface.nic for interface in pairs if interface.node == name}
                outward = [link.name for link in views[name].links if is_veth(link) and link.name not in inner]
                for nic in outward:
                    self.sock(name).send([rtnetlink.delete_link(nic)])
        for name in dying:
            self._sockets.forget(name)
            self._views.pop(name, None)
            self._observer.forget(name)
        self._nodes.stop(tuple(names))
        self.alive()

    def _perform_placed(self, operation: Operation) -> None:
        match operation:
            case Create(File() as file) | Change(_, File() as file):
                self._nodes.place(file)
            case Remove(File() as file):
                self._nodes.remove_file(file)
            case Create(Process() as process):
                self._nodes.start(process)
            case Change(Process() as old, Process() as new):
                self._nodes.end(old)
                self._nodes.start(new)
            case Remove(Process() as process):
                self._nodes.end(process)
            case Change(Node(), Node() as node) if isinstance(self._nodes, RenamingNodes):
                self._nodes.rename(node)
            case Change(Node(), Node()):
                raise KernelError(
                    f"could not {operation_words(operation)}: a running node keeps its hostname",
                    errno=errno.EBUSY,
                    hint="take the lab down and up again",
                )
            case _:
                raise KernelError(f"could not {operation_words(operation)}")

    # Looking

    def _look(self, *, links_only: bool = False, skip: Collection[NodeName] = ()) -> Mapping[NodeName, NodeView]:
        handles = self.alive()
        for name in self._views.keys() - handles.keys():
            del self._views[name]
            self._observer.forget(name)
        for name, handle in handles.items():
            if name in skip:
                continue
            view = self._views.get(name)
            if view is None or view.handle != handle:
                view = self._views[name] = NodeView(handle)
                self._observer.forget(name)
            sock = self.sock(name)
            if links_only:
                view.update_links(sock)
            else:
                view.update(sock)
        return {name: self._views[name] for name in handles if name in self._views}

    def _sysctls(self, expected: State) -> Iterator[Thing]:
        handles = self._sockets.handles
        others: dict[NodeName, list[str]] = {}
        for thing in expected:
            if isinstance(thing, Sysctl) and thing.name not in WATCHED_SYSCTLS and thing.node in handles:
                others.setdefault(thing.node, []).append(thing.name)
        for name in handles:
            sock = self.sock(name)
            for sysctl_name in WATCHED_SYSCTLS:
                value = sysctl.find_by_netlink(sock, sysctl_name)
                if value is not None:
                    yield Sysctl(name, sysctl_name, value)
        for name, sysctl_names in others.items():
            with self._sockets.home.inside(handles[name].netns):
                for sysctl_name in sysctl_names:
                    value = sysctl.find_here(sysctl_name)
                    if value is not None:
                        yield Sysctl(name, sysctl_name, value)


def _phase(operation: Operation) -> str:
    """What an operation may be performed together with: its neighbours in the plan of the same phase."""
    match operation:
        case Create(Node()):
            return "spawn"
        case Remove(Node()):
            return "stop"
        case Change(Node()) | Create(File() | Process()) | Change(File() | Process()) | Remove(File() | Process()):
            return "placed"
        case Remove(thing):
            return f"remove {type(thing).__name__}"
        case _:
            return "make"
