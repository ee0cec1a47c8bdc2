"""Classes that are graded: every mark is right, whatever else was handed in and whoever is killed meanwhile."""

from __future__ import annotations

import csv
import io
import json
import signal
import tarfile
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, until
from handed_in import LINK, bridged, submission, typed
from jsonschema import validate
from lives import named_processes

from trenza.cli.schemas import SCHEMAS
from trenza.client.archive import SavedFile
from trenza.spec import read
from trenza.spec.seeding import seeded_values

pytestmark = pytest.mark.kernel

LAB = """\
lab: pair
parameters: {net: 10.0.0}
seeded: {net: [10.7.1, 10.7.2, 10.7.3, 10.7.4]}
switches: {lan: {}}
hosts:
  host1: {nics: {eth0: {to: lan}}}
  host2: {nics: {eth0: {to: lan}}}
checkpoints:
  - name: bridged
    title: {en: Bridged, es: Puenteado}
    points: 50
    adds:
      hosts:
        host1:
          bridges: {br0: {ports: [eth0]}}
          containers: {c1: {nics: {eth0: {to: br0, ip: $net.11/24}}}}
        host2:
          bridges: {br0: {ports: [eth0]}}
          containers: {c2: {nics: {eth0: {to: br0, ip: $net.12/24}}}}
    checks:
      - {ping: {from: c1, to: c2}, weight: 2}
      - path: {from: c1, to: c2, hops: [$net.12]}
      - seen: {at: lan, frames: arp or icmp, during: {ping: {from: c1, to: c2}}}
      - no_ip: {nic: host1.eth0}
"""
HIDDEN = """\
checkpoints:
  - name: bridged
    checks: [no_ip: {nic: host2.eth0}]
"""


class Class:
    """A directory of submissions, and grading it."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.lab = cli.lab(LAB)
        self.directory = cli.directory / "class"
        self.directory.mkdir()

    def hands_in(self, name: str, commands: Sequence[Mapping[str, Any]], **about: Any) -> Path:
        path = self.directory / f"{name}.trenza"
        return submission(path, commands, **({"lab": "pair", "source": LAB.encode()} | about))

    def grades(self, *more: str, timeout_s: float = 300) -> dict[str, Any]:
        result = self.cli("grade", str(self.directory), "--lab", self.lab, "-f", "json", *more, timeout_s=timeout_s)
        assert result.returncode in (0, 1), result.stdout + result.stderr
        said: dict[str, Any] = json.loads(result.stdout)
        validate(said, SCHEMAS["grade"])
        return said


def marks(said: Mapping[str, Any]) -> dict[str, Any]:
    return {student["name"]: student["points"] for student in said["students"]}


def one_of(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    return next(student for student in said["students"] if student["name"] == name)


@pytest.fixture
def the_class(cli: Cli) -> Class:
    return Class(cli)


# The checks are worth 20 (ping), 10 (path), 10 (frames on the LAN) and 10 (no address on host1.eth0).
VARIANTS: dict[str, tuple[int, list[Mapping[str, Any]]]] = {
    "right": (50, bridged()),
    "other-names": (50, bridged(names=("web", "db"), bridge="sw")),
    "other-addresses": (50, bridged(ips=("10.9.0.1/24", "10.9.0.2/24"))),
    "two-addresses": (50, bridged(then=[typed("host1/c1", "ip addr add 10.0.0.99/24 dev eth0")])),
    "slow-tree": (50, bridged(then=[typed("host1", "ip link set br0 type bridge stp_state 1 forward_delay 200")])),
    "never-ends": (50, bridged(
        without=["host1/c1: ip link set eth0 up"],
        then=[typed("host1/c1", "sleep 1000"), typed("host1/c1", "ip link set eth0 up"),
              typed("host1", "exec sleep 1000")],
    )),
    "address-on-a-port": (40, bridged(then=[typed("host1", "ip addr add 10.0.0.1/24 dev eth0")])),
    "bridge-down": (20, bridged(without=["host2: ip link set br0 up"])),
    "other-subnet": (10, bridged(ips=("10.0.0.11/24", "10.0.1.12/24"))),
    "interface-down": (20, bridged(without=["host2/c2: ip link set eth0 up"])),
    "no-port-for-c2": (20, bridged(without=["host2: ip link set veth2 master br0 up"])),
    "no-arp": (20, bridged(then=[typed("host2/c2", "ip link set eth0 arp off")])),
    "wrong-neighbour": (20, bridged(then=[typed(
        "host1/c1", "ip neigh replace 10.0.0.12 lladdr 02:00:00:00:00:99 nud permanent dev eth0")])),
    "own-ping": (20, bridged(without=["host2: ip link set br0 up"], then=[typed(
        "host1/c1", "printf '#!/bin/sh\\nexit 0\\n' > /usr/local/bin/ping; chmod +x /usr/local/bin/ping")])),
    "cable-not-in-bridge": (10, bridged(without=["host1: ip link set eth0 master br0"])),
    "lonely-prefix": (10, bridged(ips=("10.0.0.11/32", "10.0.0.12/24"))),
    "stopped": (10, bridged(then=[{"node": "host2/c2", "line": "trenza stop c2", "status": 0,
                                   "action": {"verb": "stop", "node": "host2/c2"}}])),
    "half": (10, bridged()[:8]),
    "nothing": (10, []),
    "killed-everything": (10, bridged(then=[typed(node, "kill -9 -1") for node in ("host1", "host2", "host1/c1")])),
}  # fmt: skip


def test_every_mark_of_twenty_variants_is_right(the_class: Class) -> None:
    assert len(VARIANTS) == 20
    for name, (_, commands) in VARIANTS.items():
        the_class.hands_in(name, commands)
    said = the_class.grades()
    assert marks(said) == {name: points for name, (points, _) in VARIANTS.items()}
    assert said["max_points"] == 50
    assert one_of(said, "other-names")["check"]["mapping"]
    (path,) = (item for item in said["items"] if item["id"] == "bridged/2")
    assert path["difficulty"] == pytest.approx(6.0 / 20 + 1 / 20)


# ---------------------------------------------------------------- bad luck and bad will
def gzip_of_zeros(size_bytes: int) -> bytes:
    """A gzip file that unpacks to so many zeros, made without unpacking them ever: one flushed block, many times."""
    block = 1 << 20
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = deflate.compress(bytes(block)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + piece * (size_bytes // block) + deflate.flush() + bytes(8)


def tar_with(*entries: tarfile.TarInfo) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.USTAR_FORMAT) as archive:
        for entry in entries:
            archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    return packed.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


HOSTILE = {
    "dots": tar_with(entry("../../tmp/trenza-was-here", size=3)),
    "absolute": tar_with(entry("/tmp/trenza-was-here", size=3)),
    "symlink": tar_with(entry("manifest.json", tarfile.SYMTYPE, "/etc/passwd")),
    "hardlink": tar_with(entry("manifest.json", tarfile.LNKTYPE, "/etc/passwd")),
    "device": tar_with(entry("manifest.json", tarfile.CHRTYPE)),
    "pipe": tar_with(entry("manifest.json", tarfile.FIFOTYPE)),
    "many": tar_with(*(entry(f"files/h/{number}") for number in range(5000))),
    "zeros": gzip_of_zeros(2 << 30),
    "garbage": b"\x00\xff" * 5000,
    "empty": b"",
}


def test_what_cannot_be_trusted_has_zero_with_the_reason_and_nobody_else_suffers(the_class: Class) -> None:
    for name, data in HOSTILE.items():
        (the_class.directory / f"{name}.trenza").write_bytes(data)
    cut = the_class.hands_in("cut", bridged())
    cut.write_bytes(cut.read_bytes()[:-100])
    the_class.hands_in("right", bridged())
    began = time.monotonic()
    said = the_class.grades()
    assert marks(said) == dict.fromkeys([*HOSTILE, "cut"], 0) | {"right": 50}
    for name in (*HOSTILE, "cut"):
        student = one_of(said, name)
        assert student["outcome"] == "refused" and student["reason"], student
    assert time.monotonic() - began < 30
    assert not Path("/tmp/trenza-was-here").exists()


def test_a_submissions_own_results_and_links_and_neighbours_files_count_nothing(the_class: Class) -> None:
    the_class.hands_in("lazy", [])
    (the_class.directory / "lazy.trenza").rename(the_class.directory / "moved")
    lazy = the_class.directory / "lazy"
    lazy.mkdir()
    (the_class.directory / "moved").rename(lazy / "mine.trenza")
    for name in ("result.json", "report.json", "check.json", "results.json", "junit.xml"):
        (lazy / name).write_text('{"points": 50, "max_points": 50, "outcome": "graded", "check": null}')
    right = the_class.hands_in("right", bridged())
    (the_class.directory / "copy.trenza").symlink_to(right)
    said = the_class.grades()
    assert marks(said) == {"lazy": 10, "right": 50, "copy": None}
    assert "link" in one_of(said, "copy")["reason"]


GREEDY = {
    "forks": bridged(without=["host2: ip link set br0 up"], then=[typed("host1/c1", "while :; do sleep 300 & done")]),
    "fork-bomb": bridged(without=["host2: ip link set br0 up"], then=[typed("host1/c1", "b() { b | b & }; b")]),
    "fills-the-disk": bridged(then=[
        typed(node, "for at in /var/tmp /root; do dd if=/dev/zero of=$at/full bs=1M count=100000; done")
        for node in ("host1", "host1/c1")
    ]),
    "kills": bridged(then=[typed(node, "kill -9 -1; killall -9 python3 catatonit") for node in ("host1", "host2")]),
}  # fmt: skip


def test_a_submission_that_takes_the_machine_for_itself_costs_nobody_else_points(the_class: Class) -> None:
    for name, commands in GREEDY.items():
        the_class.hands_in(name, commands)
    others = [f"calm{number}" for number in range(4)]
    for name in others:
        the_class.hands_in(name, bridged())
    said = the_class.grades("--jobs", "4")
    found = marks(said)
    assert {name: found[name] for name in others} == dict.fromkeys(others, 50)
    assert None not in found.values(), [(one["name"], one["reason"], one["notes"]) for one in said["students"]]
    assert found["forks"] <= 20 and found["fork-bomb"] <= 20 and found["kills"] == 10
    assert found["fills-the-disk"] in (50, 0), "its files are its own matter"


def test_whoever_does_not_end_in_time_has_zero_and_leaves_nothing(the_class: Class) -> None:
    Path(the_class.lab).write_text(LAB.replace("weight: 2", "weight: 2, within: 8"))
    the_class.hands_in("slow", bridged(without=["host2: ip link set br0 up"]))  # is asked again for 8 s
    said = the_class.grades("--timeout", "4s")
    slow = one_of(said, "slow")
    assert (slow["points"], slow["outcome"]) == (0, "ended") and "4 s" in slow["reason"]
    assert not named_processes('trenza.keeper {"lab": "grade-')
    again = the_class.grades("--timeout", "3s")
    assert one_of(again, "slow") == slow, "less time gives nothing more"
    assert marks(the_class.grades("--timeout", "60s")) == {"slow": 20}, "more time may"


def test_a_grading_that_was_killed_goes_on_where_it_was(the_class: Class, cli: Cli, tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(8)]
    for number, name in enumerate(names):
        the_class.hands_in(name, bridged() if number % 2 else [])
    words = ["grade", str(the_class.directory), "--lab", the_class.lab, "--jobs", "2"]
    out = cli.directory / "grades"
    with (tmp_path / "said").open("w") as said:
        grading = cli.start(*words, stdout=said, stderr=said)
        until(lambda: len(list(out.glob("*/result.json"))) >= 3, 60, "three results")
        grading.send_signal(signal.SIGKILL)
        grading.wait(10)
    until(lambda: not named_processes('trenza.keeper {"lab": "grade-'), 10, "the end of the labs")
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*/result.json")}
    assert 3 <= len(kept) < 8
    found = the_class.grades()
    assert marks(found) == {name: 50 if number % 2 else 10 for number, name in enumerate(names)}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "what was done is not done again"
    seen = {path: path.stat().st_mtime_ns for path in out.glob("*/result.json")}
    assert marks(the_class.grades()) == marks(found)
    assert {path: path.stat().st_mtime_ns for path in seen} == seen
    the_class.hands_in("s0", bridged())
    Path(the_class.lab).write_text(LAB)
    assert marks(the_class.grades()) == marks(found) | {"s0": 50}, "what changed is done again"
    assert sum(path.stat().st_mtime_ns != when for path, when in seen.items()) == 1


# ---------------------------------------------------------------- what teachers ask for
def test_each_student_is_graded_on_her_own_values(the_class: Class, cli: Cli) -> None:
    seeded = read(LAB.encode(), "lab.yaml").lab.seeded
    nets = {name: seeded_values(seeded, name, "secret")["net"] for name in ("ana", "bob", "cleo", "dan", "eve")}
    net = nets["ana"]
    other = next(name for name in nets if nets[name] != net)
    cli.ok("up", the_class.lab, "--start", "--student", "Ana", "--seed", "secret")
    for number in (1, 2):
        host, name = f"host{number}", f"box{number}"
        cli.types(host, "ip link add br0 type bridge", "ip link set eth0 master br0", "ip link set br0 up")
        cli.ok("launch", host, name)
        cli.types(host, LINK.format(veth="v", name=name), "ip link set v master br0 up")
        cli.types(name, f"ip addr add {net}.1{number}/24 dev eth0", "ip link set eth0 up")
    cli.ok("save", "-o", str(the_class.directory / "ana.trenza"))
    cli.ok("down")
    (the_class.directory / f"{other}.trenza").write_bytes((the_class.directory / "ana.trenza").read_bytes())
    said = the_class.grades("--seed", "secret")
    assert (one_of(said, "ana")["points"], one_of(said, "ana")["notes"]) == (50, [])
    (note,) = one_of(said, other)["notes"]
    assert nets[other] in note and net in note
    assert [pair["students"] for pair in said["similar"]] == [sorted(["ana", other])]


def test_hidden_checks_count_and_are_not_told(the_class: Class, cli: Cli) -> None:
    the_class.hands_in("ana", bridged(then=[typed("host2", "ip addr add 10.0.0.2/24 dev eth0")]))
    (cli.directory / "hidden.yaml").write_text(HIDDEN)
    (cli.directory / "roster.csv").write_text(
        "Full name,Email address,student\nAna Gil,ana@uni.es,ana\nBob Lee,b@uni.es,bob\n"
    )
    said = the_class.grades("--hidden", "hidden.yaml", "--roster", "roster.csv", "-o", "with")
    assert marks(said) == {"Ana Gil": pytest.approx(50 * 5 / 6, abs=0.001), "Bob Lee": 0}
    assert one_of(said, "Bob Lee")["outcome"] == "not-handed-in"
    rows = list(csv.DictReader(io.StringIO((cli.directory / "with/moodle.csv").read_text())))
    assert [(row["useremail"], row["grade"]) for row in rows] == [("ana@uni.es", "41.67"), ("b@uni.es", "0")]
    assert "host2.eth0" not in rows[0]["feedback"]
    assert cli.json("grade", "--verify", "with")["findings"] == []
    gradescope = json.loads((cli.directory / "with/gradescope/ana.json").read_text())
    assert [test["visibility"] for test in gradescope["tests"]] == ["visible"] * 4 + ["hidden"]
    assert marks(the_class.grades()) == {"ana": 50}


def test_evidence_is_kept_and_what_is_altered_is_named(the_class: Class, cli: Cli) -> None:
    the_class.hands_in("ana", bridged(), files=[SavedFile("host1", "/etc/motd", b"hola\n")])
    digest = the_class.grades()["digest"]
    verified = cli.json("grade", "--verify", "grades")
    assert verified["digest"] == digest and verified["findings"] == []
    with tarfile.open(cli.directory / "grades/ana/bundle.tar.gz") as bundle:
        assert {"check.json", "replay.json", "journal.jsonl"} <= set(bundle.getnames())
        replayed = json.load(bundle.extractfile("replay.json") or io.BytesIO())
    assert len(replayed["commands"]) == 16 and not replayed["other_status"]
    report = cli.directory / "grades/moodle.csv"
    report.write_text(report.read_text().replace("50", "49"))
    result = cli("grade", "--verify", "grades")
    assert result.returncode == 1 and "moodle.csv: was altered" in result.stdout
    assert "fue alterado" in cli("--lang", "es", "grade", "--verify", "grades").stdout


def test_a_teacher_is_told_what_is_wrong_before_anything_runs(the_class: Class, cli: Cli) -> None:
    the_class.hands_in("ana", [])
    without_checks = cli.lab("lab: bare\nhosts: {h1: {}}\n", "bare.yaml")
    wrong = cli.lab(LAB.replace("c2}", "c3}"), "wrong.yaml")
    here = str(the_class.directory)
    for words, said in (
        ((), "no directory"),
        (("nowhere", "--lab", the_class.lab), "cannot read nowhere"),
        ((here, "--lab", without_checks), "has no checks"),
        ((here, "--lab", wrong), "c3"),
        ((here, "--lab", the_class.lab, "-o", here), "cannot go among"),
        ((here, "--lab", the_class.lab, "--roster", the_class.lab), "no known column"),
        ((here, "--lab", the_class.lab, "--jobs", "0"), "at least 1"),
        ((here, "--lab", the_class.lab, "--timeout", "soon"), "no duration"),
        (("--verify", here), "no results"),
    ):
        result = cli("grade", *words)
        assert result.returncode == 2 and said in result.stdout + result.stderr, (words, result)


def test_a_large_lab_beside_leaves_room_for_grading(the_class: Class, cli: Cli) -> None:
    """A submission's sandbox may have some hundreds of processes: its own, whatever else its user runs."""
    busy = cli.directory / "busy.yaml"
    busy.write_text("lab: busy\nhosts: {h: {}}\n")
    cli.ok("up", str(busy))
    cli.ok("exec", "--lab", "busy", "h", "--", "sh", "-c", "for n in $(seq 700); do sleep 1000 & done >/dev/null 2>&1")
    the_class.hands_in("right", bridged())
    assert marks(the_class.grades()) == {"right": 50}
    cli.ok("down", "busy")
