"""As root: the same labs, and no id of the machine's root inside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Cli

pytestmark = [pytest.mark.as_root, pytest.mark.skipif(os.getuid() != 0, reason="not root: `make test` runs it as root")]


def test_root_runs_a_lab_in_which_it_is_nobody(cli: Cli) -> None:
    cli.ok("up", "bridged-lan", "--wait")
    assert " 0% packet loss" in cli.ok("exec", "c1", "--", "ping", "-c", "1", "10.0.0.12")
    shown = {node["name"]: node for node in cli.json("show")["nodes"]}
    for node in shown.values():
        status = Path(f"/proc/{node['pid']}/status").read_text()
        ids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        assert "0" not in ids, f"{node['name']} runs as the machine's root"
    assert cli.ok("exec", "c1", "--", "id", "-u").strip() == "0"
    # /usr shows the machine's root as nobody, and stays as it is.
    assert cli("exec", "c1", "--", "touch", "/usr/trenza-was-here").returncode != 0
    cli.ok("up")
    cli.ok("down", "bridged-lan")


def test_a_cluster_of_roots_runs_in_a_directory_that_others_cannot_enter(cli: Cli) -> None:
    cli.ok("up", "kubernetes")
    for checkpoint in ("pods", "overlay"):
        cli.ok("check", "kubernetes", "--checkpoint", checkpoint)
    assert "server: https://127.0.0.1:" in cli.ok("kubeconfig", "kubernetes")
    assert "nothing is left" in cli.ok("down", "kubernetes")
