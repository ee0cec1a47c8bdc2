"""Who really served a request: in which node's namespace its bytes arrived, whatever the answer says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from trenza.linux.asking.listening import Listener
from trenza.linux.asking.sockets import refusals, way_home
from trenza.linux.capture_filter import Instruction, Program
from trenza.linux.capture_sockets import Frame, PacketSocket
from trenza.model.names import NodeName

_SNAPLEN_BYTES: Final = 65535

# Classic BPF (include/uapi/linux/bpf_common.h). Offsets from the network header and questions about the frame are
# addresses of the kernel's own (include/uapi/linux/filter.h), so that it works on links without Ethernet, too.
_LOAD_HALF, _LOAD_BYTE, _JUMP_IF_EQUAL, _RETURN = 0x28, 0x30, 0x15, 0x06
_PROTOCOL: Final = 0xFFFFF000
_PACKET_TYPE: Final = 0xFFFFF000 + 4
_NETWORK: Final = 0xFFF00000
_TO_US: Final = 0
_TCP: Final = 6
INCOMING_TCP: Final[Program] = (
    Instruction(_LOAD_HALF, 0, 0, _PACKET_TYPE),
    Instruction(_JUMP_IF_EQUAL, 0, 8, _TO_US),
    Instruction(_LOAD_HALF, 0, 0, _PROTOCOL),
    Instruction(_JUMP_IF_EQUAL, 0, 2, 0x0800),
    Instruction(_LOAD_BYTE, 0, 0, _NETWORK + 9),
    Instruction(_JUMP_IF_EQUAL, 3, 4, _TCP),
    Instruction(_JUMP_IF_EQUAL, 0, 3, 0x86DD),
    Instruction(_LOAD_BYTE, 0, 0, _NETWORK + 6),
    Instruction(_JUMP_IF_EQUAL, 0, 1, _TCP),
    Instruction(_RETURN, 0, 0, _SNAPLEN_BYTES),
    Instruction(_RETURN, 0, 0, 0),
)
"""TCP addressed to an interface of the namespace."""


class ServerWatch:
    """In `with`: sees in which of `servers` requests arrive whose path holds `NONCE-k`, as `…?trenza=NONCE-7`.

    A frame counts when it is addressed to an interface of the namespace, so that a bridge that it only passes through
    does not; a router does. Name as servers, then, who is to be told apart. A proxy that passes the request on is seen
    beside the server behind it. Raises KernelError.
    """

    def __init__(self, servers: Mapping[str, Sequence[int]], nonce: str) -> None:
        """`servers` are names with descriptors of their network namespaces."""
        self._names = [name for name, namespaces in servers.items() for _ in namespaces]
        self._namespaces = [netns for namespaces in servers.values() for netns in namespaces]
        # only a request's own line: an answer may repeat the path
        self._line = re.compile(rb"(?:GET|HEAD) [^ \r\n]*" + re.escape(nonce.encode()) + rb"-(\d{1,9})(?=[^0-9])")
        self._seen: dict[int, set[str]] = {}
        self._listener: Listener | None = None

    def __enter__(self) -> ServerWatch:
        with ExitStack() as stack, way_home() as home:
            sockets = [
                stack.enter_context(
                    PacketSocket(home, netns, NodeName(name), None, INCOMING_TCP, _SNAPLEN_BYTES)
                )
                for name, netns in zip(self._names, self._namespaces, strict=True)
            ]  # fmt: skip
            self._listener = Listener(sockets, self._take)
            stack.pop_all()
        self._listener.start()
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._listener is not None
        with refusals():
            self._listener.stop()

    def _take(self, place: int, frame: Frame) -> None:
        for found in self._line.finditer(frame.data):
            self._seen.setdefault(int(found[1]), set()).add(self._names[place])

    def seen(self) -> dict[int, frozenset[str]]:
        """Who got which request, by its number k. Those that are answered by now are all in it.

        Waits for nothing: a request's bytes were there before its answer was.
        """
        if self._listener is not None and self._listener.is_open:
            self._listener.catch_up()
        return {number: frozenset(names) for number, names in sorted(self._seen.items())}

    def dropped(self) -> int:
        """How many frames the kernel dropped because it had no room for them: a request may have been among them."""
        return 0 if self._listener is None else self._listener.dropped()
