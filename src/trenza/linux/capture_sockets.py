"""Packet sockets: frames of one network namespace or of one of its interfaces, with the kernel's own timestamps.

A socket stays in the namespace it was made in, whoever reads it. Only making one needs privilege; after that a reader
may give all of it up.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from trenza.errors import KernelError, UsageError
from trenza.linux.capture_filter import Program, attach
from trenza.linux.netns import Home, find_index
from trenza.linux.pcapng import (
    DEFAULT_SNAPLEN_BYTES,
    LINKTYPE_ETHERNET,
    LINKTYPE_RAW_IP,
    Direction,
    PacketFlags,
)
from trenza.model.names import Interface, NicName, NodeName

_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_ADD_MEMBERSHIP: Final = 1
_PACKET_STATISTICS: Final = 6
_PACKET_AUXDATA: Final = 8
_PACKET_MR_PROMISC: Final = 1
_SO_TIMESTAMPNS: Final = 35
_SO_RCVBUFFORCE: Final = 33
_RTMGRP_LINK: Final = 1

_TP_STATUS_CSUM_NOT_READY: Final = 1 << 3
_TP_STATUS_VLAN_VALID: Final = 1 << 4
_TP_STATUS_VLAN_TPID_VALID: Final = 1 << 6

_ARPHRD_ETHER: Final = 1
_ARPHRD_LOOPBACK: Final = 772
_PACKET_BROADCAST: Final = 1
_PACKET_MULTICAST: Final = 2
_PACKET_OTHERHOST: Final = 3
_PACKET_OUTGOING: Final = 4

_TIMESPEC: Final = struct.Struct("@qq")
_AUXDATA: Final = struct.Struct("=IIIHHHH")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_TIMESPEC.size) + socket.CMSG_SPACE(_AUXDATA.size)
_BUFFER_BYTES: Final = 16 << 20
_DOT1Q: Final = 0x8100

_libc: Final = ctypes.CDLL(None, use_errno=True)

_FLAGS: Final = {
    0: PacketFlags.UNICAST,
    _PACKET_BROADCAST: PacketFlags.BROADCAST,
    _PACKET_MULTICAST: PacketFlags.MULTICAST,
    _PACKET_OTHERHOST: PacketFlags.PROMISCUOUS,
}


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it passed an interface, its VLAN tag put back where it was on the wire."""

    interface: Interface
    link_type: int
    timestamp_ns: int
    data: bytes
    original_bytes: int
    direction: Direction
    flags: PacketFlags


class PacketSocket:
    """The frames of one interface, or of every interface of a node as they come and go.

    An interface that is removed and made again under its name is found again. Close it, or use it in `with`.
    """

    def __init__(
        self,
        home: Home,
        netns: int,
        node: NodeName,
        nic: NicName | None,
        program: Program,
        snaplen_bytes: int = DEFAULT_SNAPLEN_BYTES,
    ) -> None:
        """Opens it in the namespace `netns`. Raises UsageError if the node has no such interface, else KernelError."""
        self.node = node
        self.nic = nic
        self._snaplen_bytes = snaplen_bytes
        self._dropped = 0
        self._links: socket.socket | None = None
        with ExitStack() as stack:
            try:
                with home.inside(netns):
                    there = [name for _, name in socket.if_nameindex()]
                    # Protocol 0 receives nothing: no frame slips in before the filter is there.
                    self._socket = stack.enter_context(
                        socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
                    )
                    if nic is not None:
                        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
                        self._links = stack.enter_context(socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE))
                        self._links.bind((0, _RTMGRP_LINK))
                self._prepare(program)
                if nic is None:
                    _bind_everywhere(self._socket)
                elif not self._bind_nic(nic):
                    raise UsageError(f"{node} has no interface '{nic}'", hint=f"it has: {', '.join(there)}")
            except OSError as error:
                raise KernelError(f"cannot capture in {node}: {error.strerror}", errno=error.errno or 0) from error
            self._open = stack.pop_all()

    def _prepare(self, program: Program) -> None:
        attach(self._socket, program)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        except PermissionError:  # the machine's own root alone may pass net.core.rmem_max
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.setblocking(False)

    def _bind_nic(self, nic: str) -> bool:
        """Bind to the interface under its present index, promiscuously as tcpdump does; False if it is not there."""
        index = find_index(self._socket.fileno(), nic)
        if index is None:
            return False
        try:
            self._socket.bind((nic, _ETH_P_ALL))
            request = struct.pack("=iHH8x", index, _PACKET_MR_PROMISC, 0)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, request)
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.ENXIO):  # gone between the question and the call
                return False
            raise
        return True

    def __enter__(self) -> PacketSocket:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._open.close()

    def fileno(self) -> int:
        """Readable when a frame waits."""
        return self._socket.fileno()

    def links_fileno(self) -> int | None:
        """Readable when interfaces changed; call `follow_links` then. None for a socket of a whole node."""
        return None if self._links is None else self._links.fileno()

    def follow_links(self) -> None:
        """Bind again if our interface was removed and made anew."""
        if self._links is None or self.nic is None:
            return
        try:
            while self._links.recv(1 << 16):
                pass
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # so many changes that some were lost: all the same to us
                raise
        if self._socket.getsockname()[0] != self.nic:  # empty once that interface has gone
            self._bind_nic(self.nic)

    def dropped(self) -> int:
        """How many frames the kernel has dropped so far because nobody read them in time."""
        counts = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._dropped += struct.unpack("=II", counts)[1]  # asking sets it back to zero
        return self._dropped

    def receive(self, limit: int) -> Iterator[Frame]:
        """The frames that wait, at most about `limit` of them. An interface going down is no error."""
        # One buffer a call: a thousand sockets with one each would hold a quarter of a gigabyte.
        buffer = memoryview(bytearray(self._snaplen_bytes))
        for _ in range(limit):
            try:
                length, ancillary, _, address = self._socket.recvmsg_into([buffer], _ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENETDOWN:
                    continue
                raise
            frame = self._frame(bytes(buffer[:length]), ancillary, address)
            if frame is not None:
                yield frame

    def _frame(self, data: bytes, ancillary: list[tuple[int, int, bytes]], address: tuple[Any, ...]) -> Frame | None:
        # Python asks the socket for the name, so in the socket's namespace; empty once the interface has gone.
        name, _, packet_type, hardware = address[:4]
        outgoing = packet_type == _PACKET_OUTGOING
        if outgoing and hardware == _ARPHRD_LOOPBACK:
            return None  # it comes back as an incoming one at once
        original_bytes, timestamp_ns = len(data), 0
        flags = _FLAGS.get(packet_type, PacketFlags.NONE)
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack(value)
                timestamp_ns = seconds * 1_000_000_000 + nanoseconds
            elif level == _SOL_PACKET and kind == _PACKET_AUXDATA:
                status, original_bytes, _, _, _, tag, tag_type = _AUXDATA.unpack(value)
                if status & _TP_STATUS_CSUM_NOT_READY:
                    flags |= PacketFlags.CHECKSUM_NOT_READY
                if status & _TP_STATUS_VLAN_VALID and len(data) >= 12:
                    ethertype = tag_type if status & _TP_STATUS_VLAN_TPID_VALID else _DOT1Q
                    data = data[:12] + struct.pack("!HH", ethertype, tag) + data[12:]
                    original_bytes += 4
        return Frame(
            Interface(self.node, NicName(name or self.nic or "?")),
            LINKTYPE_ETHERNET if hardware in (_ARPHRD_ETHER, _ARPHRD_LOOPBACK) else LINKTYPE_RAW_IP,
            timestamp_ns or time.time_ns(),
            data,
            original_bytes,
            Direction.OUT if outgoing else Direction.IN,
            flags,
        )


def _bind_everywhere(endpoint: socket.socket) -> None:
    """Bind to all interfaces of the socket's namespace. Python's own bind insists on the name of one."""
    address = struct.pack("=HHiHBB8x", socket.AF_PACKET, socket.htons(_ETH_P_ALL), 0, 0, 0, 0)
    if _libc.bind(endpoint.fileno(), address, len(address)) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
