"""The process that holds an uplink's network namespace, its filter, and the way out of it. Standard library only.

Executed by the keeper in the sandbox, it makes a network namespace that belongs to the sandbox's user namespace: root
of a node has no say there. Frames that the filter let pass are read at the interface `relay` and handed to the helper
(slirp4netns, which lives in the machine's network and speaks whole frames on a socket), and its frames are written
there. Nothing here looks into a frame.

It listens on an abstract socket of the sandbox's network namespace, as the spawner does:

    {"do": "hello"}                             → {"pid"}
    {"do": "filter", "rules"}                   → {} | {"error"}
    {"do": "connect"} + the helper's socket and the pipe that it lives by → {} | {"error"}
    {"do": "disconnect"}                        → {}
    {"do": "watch"}                             → {"helper": bool} now, and whenever that changes
"""

from __future__ import annotations

import array
import fcntl
import hashlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
from typing import Any, Final

from trenza.linux import syscalls
from trenza.linux.descriptors import received

RELAY: Final = "relay"
PORT: Final = "slirp"
_FRAME_BYTES: Final = 65536
_BURST: Final = 64
_NFT_DEADLINE_S: Final = 10
_ETH_P_ALL: Final = 3
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_STXCSUM: Final = 0x17
_MESSAGE_BYTES: Final = 1 << 16


def address_of(name: str) -> str:
    """The abstract address that the holder of an uplink listens at."""
    return "\0trenza-uplink-" + hashlib.blake2b(name.encode(), digest_size=8).hexdigest()


class Holder:
    """One uplink; `serve` it after `make`."""

    def __init__(self, name: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._listener.bind(address_of(name))  # before the namespace is left in which it is found
        self._listener.listen(16)
        self._poll = select.poll()
        self._clients: dict[int, socket.socket] = {}
        self._watchers: set[int] = set()
        self._relay: socket.socket | None = None
        self._helper: socket.socket | None = None
        self._exit = -1

    def make(self, rules: str) -> None:
        """Leave for a network namespace of our own, closed as `rules` say. Raises OSError."""
        syscalls.unshare(syscalls.CLONE_NEWNET)
        _filter(rules)

    def serve(self) -> None:
        """Carry frames and answer, until somebody kills us."""
        self._poll.register(self._listener.fileno(), select.POLLIN)
        while True:
            for descriptor, _ in self._poll.poll():
                if self._relay is not None and descriptor == self._relay.fileno():
                    self._carry_out()
                elif self._helper is not None and descriptor == self._helper.fileno():
                    self._carry_in()
                elif descriptor == self._listener.fileno():
                    client, _ = self._listener.accept()
                    self._clients[client.fileno()] = client
                    self._poll.register(client.fileno(), select.POLLIN)
                elif descriptor in self._clients:
                    self._hear(self._clients[descriptor])

    # ------------------------------------------------------------------ frames
    def _carry_out(self) -> None:
        """From the node to the helper; what it cannot take now is lost, as on any full link."""
        assert self._relay is not None
        for _ in range(_BURST):
            try:
                frame = self._relay.recv(_FRAME_BYTES)
            except OSError:  # no more, or the interface is down
                return
            if self._helper is None:
                return
            try:
                self._helper.send(frame)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError:
                self._drop_helper()
                return

    def _carry_in(self) -> None:
        for _ in range(_BURST):
            if self._helper is None or self._relay is None:
                return
            try:
                frame = self._helper.recv(_FRAME_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                frame = b""
            if not frame:
                self._drop_helper()
                return
            try:
                self._relay.send(frame)
            except OSError:
                continue  # down, or longer than its MTU

    def _take_helper(self, helper: int, exit_pipe: int) -> None:
        self._drop_helper()
        relay = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
        try:
            # The far end must not leave checksums and segments to a device that is none: it is read, not received.
            command = array.array("I", [_ETHTOOL_STXCSUM, 0])
            request = struct.pack("@16sP16x", PORT.encode(), command.buffer_info()[0])
            fcntl.ioctl(relay.fileno(), _SIOCETHTOOL, request)
            relay.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            relay.bind((RELAY, _ETH_P_ALL))
        except OSError:
            relay.close()
            os.close(helper)
            os.close(exit_pipe)
            raise
        self._relay, self._helper, self._exit = relay, socket.socket(fileno=helper), exit_pipe
        self._helper.setblocking(False)
        self._helper.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        for sock in (self._relay, self._helper):
            self._poll.register(sock.fileno(), select.POLLIN)
        self._tell()

    def _drop_helper(self) -> None:
        """Let go of the helper, which ends when its pipe closes."""
        for sock in (self._relay, self._helper):
            if sock is not None:
                self._poll.unregister(sock.fileno())
                sock.close()
        if self._exit >= 0:
            os.close(self._exit)
        changed = self._helper is not None
        self._relay = self._helper = None
        self._exit = -1
        if changed:
            self._tell()

    # ------------------------------------------------------------------ requests
    def _tell(self) -> None:
        for descriptor in list(self._watchers):
            self._answer(self._clients[descriptor], {"helper": self._helper is not None})

    def _answer(self, client: socket.socket, answer: dict[str, Any]) -> None:
        try:
            client.send(json.dumps(answer).encode(), socket.MSG_DONTWAIT)
        except OSError:
            return  # it has gone, and its socket will say so

    def _hear(self, client: socket.socket) -> None:
        descriptors: list[int] = []
        try:
            message, descriptors = received(client, _MESSAGE_BYTES, 2)
        except OSError:
            message = b""
        if not message:
            self._poll.unregister(client.fileno())
            self._watchers.discard(client.fileno())
            del self._clients[client.fileno()]
            client.close()
            return
        request = json.loads(message)
        try:
            match request["do"]:
                case "hello":
                    self._answer(client, {"pid": os.getpid()})
                case "filter":
                    _filter(request["rules"])
                    self._answer(client, {})
                case "connect":
                    self._take_helper(*descriptors)
                    self._answer(client, {})
                case "disconnect":
                    self._drop_helper()
                    self._answer(client, {})
                case "watch":
                    self._watchers.add(client.fileno())
                    self._answer(client, {"helper": self._helper is not None})
                case other:
                    self._answer(client, {"error": f"unknown request {other!r}"})
        except OSError as error:
            self._answer(client, {"error": str(error)})


def _filter(rules: str) -> None:
    """Give the namespace these nftables rules. Raises OSError with nft's own words."""
    nft = next((path for path in ("/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft") if os.access(path, os.X_OK)), "nft")
    done = subprocess.run([nft, "-f", "-"], input=rules, capture_output=True, text=True, timeout=_NFT_DEADLINE_S)
    if done.returncode:
        raise OSError(0, f"nft: {done.stderr.strip().splitlines()[0] if done.stderr.strip() else done.returncode}")


def main() -> None:
    """`uplink_holder SETTINGS`: JSON with name and rules. Returns to the caller once it serves, as a child of pid 1."""
    settings = json.loads(sys.argv[1])
    try:
        holder = Holder(settings["name"])
        holder.make(settings["rules"])
    except (OSError, subprocess.SubprocessError) as error:
        sys.stdout.write(f"{error}")
        sys.stdout.flush()
        os._exit(1)
    if os.fork():
        os._exit(0)
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    with open("/proc/self/comm", "w") as file:
        file.write("trenza-uplink")
    holder.serve()
