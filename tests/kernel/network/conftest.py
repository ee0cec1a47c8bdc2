"""Every test of this folder runs in a child process with a user and a network namespace of its own.

No root is needed and nothing can be left behind: what a test makes ends with its process.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from trenza.linux.bare import enter_own_namespaces

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if HERE not in pyfuncitem.path.parents:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        status = 1
        try:
            enter_own_namespaces()
            pyfuncitem.obj(**arguments)
            status = 0
        except BaseException:
            os.write(writer, traceback.format_exc().encode()[-60_000:])
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        trace = pipe.read().decode()
    _, waited = os.waitpid(pid, 0)
    assert waited == 0, trace or f"the test's process ended with status {waited}"
    return True
