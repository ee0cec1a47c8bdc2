"""The helper of an uplink: the one program of a lab that stays in the machine's network."""

from __future__ import annotations

import os
from typing import Any

from trenza.errors import TrenzaError
from trenza.linux import sandbox
from trenza.wire import Channel

PROGRAM = "/usr/bin/slirp4netns"


def serve_uplink(channel: Channel, lab: str, order: dict[str, Any]) -> None:
    """Start what the keeper ordered, and send it the pipe that the helper lives by; or why it could not be started."""
    try:
        exit_pipe = start_helper(lab, order["socket"], loopback=bool(order["loopback"]))
    except (OSError, TrenzaError) as error:
        channel.send({"refused": str(error), "descriptors": 0})
        return
    try:
        channel.send({"descriptors": 1}, [exit_pipe])
    finally:
        os.close(exit_pipe)


def start_helper(lab: str, socket_name: str, *, loopback: bool) -> int:
    """Start a slirp4netns that takes frames at a socket in the lab's directory; the pipe whose end it ends with.

    It lives in the sandbox's user and pid namespaces, so that it cannot outlive the sandbox, and in the machine's
    network; it shuts itself up in an empty mount namespace (--enable-sandbox) and behind a seccomp filter before it
    reads a frame. Raises OSError, SandboxError.
    """
    directory = sandbox.lab_directory(lab)
    log = os.open(
        directory / "uplink.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    exit_read, exit_write = os.pipe()
    (directory / socket_name).unlink(missing_ok=True)
    argv = [PROGRAM, "--target-type=bess", "--enable-sandbox", "--enable-seccomp", "--exit-fd=4"]
    if not loopback:
        argv.append("--disable-host-loopback")
    try:
        child = sandbox.execute_inside(
            lab,
            [*argv, f"/proc/self/fd/3/{socket_name}"],
            keep={3: place, 4: exit_read},
            log=log,
            environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            outside=True,
        )
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            raise OSError(0, "it cannot enter the sandbox; see uplink.log")
    except BaseException:
        os.close(exit_write)
        raise
    finally:
        for descriptor in (log, place, exit_read):
            os.close(descriptor)
    return exit_write
