"""Pods of two hosts, run by real agents: their networks, probes and restarts, and what outlives an agent."""

from __future__ import annotations

import time

import pytest
from conftest import Cluster, until

pytestmark = pytest.mark.kernel


def test_a_pod_runs_and_reaches_another_across_the_overlay(cluster: Cluster) -> None:
    begun = time.monotonic()
    cluster.pod("a", "larrain", "sleep", "1000")
    until(lambda: cluster.status("a").get("phase") == "Running", "a runs")
    print("running after", time.monotonic() - begun)
    cluster.pod("b", "concepcion", "sleep", "1000")
    a, b = cluster.ready("a"), cluster.ready("b")
    assert "1 received" in cluster.exec("a", f"ping -c 1 -W 5 {b}")["out"]
    shown = cluster.exec("a", "ip -d addr show eth0")["out"]
    assert "mtu 1450" in shown
    octets = ":".join(f"{int(part):02x}" for part in a.split("."))
    assert f"02:42:{octets}" in shown
