"""Filter expressions, as tcpdump understands them, made into programs for the kernel's classic BPF."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

from trenza.errors import KernelError, MachineError, UsageError
from trenza.linux.netns import Home
from trenza.linux.pcapng import DEFAULT_SNAPLEN_BYTES

_SO_ATTACH_FILTER: Final = 26
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
_BPF_RET_K: Final = 6
_COMPILE_TIMEOUT_S: Final = 10

# Ordinary users' PATH lacks the directories where some distributions keep tcpdump.
SEARCH_PATH: Final = os.pathsep.join((os.environ.get("PATH", ""), "/usr/bin", "/usr/sbin", "/sbin", "/usr/local/sbin"))

# The kernel takes a VLAN tag out of the frame before any filter sees it, and direction is not in the frame at all. Only
# when compiling for a real interface does libpcap emit the loads that ask the kernel for them (gencode.c).
_NEEDS_LIVE_INTERFACE: Final = re.compile(r"\b(vlan|inbound|outbound)\b")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of classic BPF (struct sock_filter, include/uapi/linux/filter.h)."""

    code: int
    jump_true: int
    jump_false: int
    k: int


Program = tuple[Instruction, ...]


def compiled(expression: str, snaplen_bytes: int = DEFAULT_SNAPLEN_BYTES, *, search_path: str = SEARCH_PATH) -> Program:
    """The program of a filter expression; it cuts what it accepts to `snaplen_bytes`. Empty: everything.

    Raises UsageError with tcpdump's own words for an expression it refuses, MachineError where there is no tcpdump.
    """
    if not expression.strip():
        return (Instruction(_BPF_RET_K, 0, 0, snaplen_bytes),)
    tcpdump = shutil.which("tcpdump", path=search_path)
    if tcpdump is None:
        raise MachineError(
            "a capture filter needs tcpdump, which this machine lacks", hint="install the package tcpdump"
        )
    live = _NEEDS_LIVE_INTERFACE.search(expression) is not None
    link = ("-i", "lo") if live else ("-y", "EN10MB")
    argv = (tcpdump, "-ddd", *link, "-s", str(snaplen_bytes), "--", expression)
    try:
        with _netns_with_loopback() if live else nullcontext():
            done = _run(argv)
    except ValueError as error:  # a NUL character
        raise UsageError(f"bad capture filter {expression!r}: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(
            f"bad capture filter '{expression}': tcpdump did not answer in {_COMPILE_TIMEOUT_S} s",
            hint="write addresses instead of names",
        ) from error
    if done.returncode != 0:
        raise UsageError(f"bad capture filter '{expression}': {_complaint(done.stderr)}")
    return _parsed(done.stdout)


@contextmanager
def _netns_with_loopback() -> Iterator[None]:
    """The calling thread lies in a network namespace of its own whose `lo` is up, within the block.

    libpcap opens no interface that is down, and in the lab's namespaces any may be.
    """
    home = Home()
    try:
        netns = home.make_netns()
        try:
            with home.inside(netns):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as endpoint:
                    fcntl.ioctl(endpoint, _SIOCSIFFLAGS, struct.pack("=16sH14x", b"lo", _IFF_UP))
                yield
        finally:
            os.close(netns)
    except OSError as error:
        raise KernelError(f"no namespace to compile a capture filter in: {error.strerror}") from error
    finally:
        home.close()


def _run(argv: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_COMPILE_TIMEOUT_S,
        check=False,
        env={"LC_ALL": "C.UTF-8"},
    )


def attach(endpoint: socket.socket, program: Program) -> None:
    """Let the kernel pass on to this socket only what the program accepts."""
    packed = b"".join(struct.pack("=HBBI", one.code, one.jump_true, one.jump_false, one.k) for one in program)
    instructions = ctypes.create_string_buffer(packed, len(packed))
    # struct sock_fprog; `@` puts the padding before the pointer.
    fprog = struct.pack("@HP", len(program), ctypes.addressof(instructions))
    endpoint.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def _complaint(stderr: str) -> str:
    lines = [line.removeprefix("tcpdump: ").strip() for line in stderr.splitlines()]
    said = [line for line in lines if line and not line.startswith(("data link type", "Warning:"))]
    return " ".join(said) or "tcpdump refused it without a word"


def _parsed(listing: str) -> Program:
    """A program from tcpdump's decimal listing: a count, then four numbers a line."""
    count, *lines = listing.splitlines()
    program = tuple(Instruction(*(int(word) for word in line.split())) for line in lines if line.strip())
    if len(program) != int(count):
        raise MachineError(f"tcpdump announced {count} filter instructions and listed {len(program)}")
    return program
