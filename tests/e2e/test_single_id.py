"""Without subordinate ids: one id is mapped, and daemons that change theirs are told that it worked."""

from __future__ import annotations

import os

import pytest
from conftest import Cli

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.getuid() == 0, reason="root has ids")]


def test_a_lab_runs_with_one_id(cli: Cli) -> None:
    cli.environment["TRENZA_SINGLE_ID"] = "1"
    cli.ok("up", "routed", "--wait")
    assert cli.ok("exec", "c1", "--", "cat", "/proc/self/uid_map").split() == ["0", "0", "1"]
    out = cli.types("c1", "touch /tmp/file", "chown www-data:www-data /tmp/file", "ping -c 1 192.168.2.2", "id -u")
    assert out.splitlines()[-1] == "0"
    switched = "import os; os.setgroups([33]); os.setgid(33); os.setuid(33); print('went on')"
    assert cli.ok("exec", "c1", "--", "/usr/bin/python3", "-c", switched) == "went on\n"
    cli.ok("up")
