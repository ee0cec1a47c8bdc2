"""Submissions for tests: archives as `trenza save` writes them, out of what somebody would have typed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trenza.client.archive import Manifest, Saved, SavedCommand, SavedFile, write_archive

LINK = "ip link add {veth} type veth peer name eth0 netns $(trenza info {name} | sed -n 's/^PID: //p')"


def typed(node: str, line: str, status: int = 0) -> dict[str, Any]:
    return {"node": node, "line": line, "status": status}


def launched(host: str, name: str) -> dict[str, Any]:
    action = {"verb": "launch", "host": host, "name": name}
    return {"node": host, "line": f"trenza launch {host}/{name}", "status": 0, "action": action}


def bridged(
    *,
    names: Sequence[str] = ("c1", "c2"),
    bridge: str = "br0",
    ips: Sequence[str] = ("10.0.0.11/24", "10.0.0.12/24"),
    without: Iterable[str] = (),
    then: Iterable[Mapping[str, Any]] = (),
) -> list[Mapping[str, Any]]:
    """What bridges two containers of two hosts by hand; `without` leaves lines out, `then` comes last."""
    done: list[Mapping[str, Any]] = []
    for number, (name, ip) in enumerate(zip(names, ips, strict=True), 1):
        host, veth = f"host{number}", f"veth{number}"
        container = f"{host}/{name}"
        done += [
            typed(host, f"ip link add {bridge} type bridge"),
            typed(host, f"ip link set eth0 master {bridge}"),
            typed(host, f"ip link set {bridge} up"),
            launched(host, name),
            typed(host, LINK.format(veth=veth, name=name)),
            typed(host, f"ip link set {veth} master {bridge} up"),
            typed(container, f"ip addr add {ip} dev eth0"),
            typed(container, "ip link set eth0 up"),
        ]
    left_out = set(without)
    return [*(one for one in done if f"{one['node']}: {one['line']}" not in left_out), *then]


def submission(
    path: Path,
    commands: Sequence[Mapping[str, Any]],
    *,
    lab: str,
    source: bytes,
    files: Sequence[SavedFile] = (),
    **manifest: Any,
) -> Path:
    """An archive of these commands, one a second, each node's in a shell of its own."""
    saved = [
        SavedCommand(
            one["node"], one["line"], one["status"], float(second), second + 0.5, action=one.get("action"),
            **({} if "action" in one else {"session": f"s-{one['node']}", "shell": "1"}),
        )
        for second, one in enumerate(commands)
    ]  # fmt: skip
    about = Manifest(**({"lab": lab, "mode": "start", "saved_s": 1e9} | manifest))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_archive(Saved(about, source, commands=tuple(saved), files=tuple(files)), path)
    return path
