"""The fixture that runs a test's body in a user namespace of its own, which ends with the test."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from capture_cable import Body, Cable

from trenza.linux import syscalls


@pytest.fixture
def in_cable() -> Callable[[Body], None]:
    """Runs a function with a `Cable` in a forked child, alone in new user and network namespaces."""

    def run(body: Body) -> None:
        report, report_end = os.pipe()
        uid, gid = os.getuid(), os.getgid()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWNS)
                Path("/proc/self/setgroups").write_text("deny")
                Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
                Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
                body(Cable())
                status = 0
            except BaseException:
                os.write(report_end, traceback.format_exc().encode()[-60000:])
            finally:
                os._exit(status)
        os.close(report_end)
        with os.fdopen(report, "rb") as reader:
            said = reader.read().decode(errors="replace")
        _, status = os.waitpid(child, 0)
        assert status == 0, said

    return run
