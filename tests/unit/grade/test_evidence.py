"""Evidence: chained, and whatever is changed afterwards is named."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from trenza.errors import UsageError
from trenza.grade import evidence
from trenza.grade.grading import write_reports
from trenza.grade.keeping import find_kept, keep, key_of
from trenza.grade.marks import Checked, Outcome, Result
from trenza.grade.verification import Change, verify

from .classes import check, checked, reported, student


def a_class(out: Path) -> str:
    """Results of two students and one who handed in nothing; the class's digest."""
    results = []
    for name, credit in (("ana", 1.0), ("bob", 0.5)):
        said, captures = evidence.without_frames(checked(check(1, credit), check(2)))
        members = {evidence.CHECK: evidence.as_text(said), "journal.jsonl": b"{}\n", **captures}
        links = evidence.chained((member, evidence.digest(data)) for member, data in members.items())
        (out / name).mkdir()
        (out / name / evidence.BUNDLE).write_bytes(evidence.packed(members))
        (out / name / evidence.CHAIN).write_bytes(evidence.chain_text(links))
        results.append(
            Result(student(name), Outcome.GRADED, checked=Checked.of(said), digest=evidence.last_digest(links))
        )
    return write_reports(reported(*results, Result(student("cleo"), Outcome.ABSENT)), out)


def test_captures_are_members_of_their_own() -> None:
    said, captures = evidence.without_frames(checked(check(1)))
    (member,) = captures
    assert member == "frames/bridged-1/1-lan.pcapng" and captures[member] == b"frames"
    assert said["checkpoints"][0]["checks"][0]["evidence"]["frames"] == [{"name": "lan.pcapng", "member": member}]


def test_what_nobody_touched_is_as_it_was(tmp_path: Path) -> None:
    told = a_class(tmp_path)
    found = verify(tmp_path)
    assert not found.findings and found.digest == told and found.students == 3


def repacked(path: Path, change: str) -> None:
    """Change a member of a bundle, or add one, or take one away."""
    import io
    import tarfile

    members = {}
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(path.read_bytes()))) as archive:
        for entry in archive:
            file = archive.extractfile(entry)
            assert file is not None
            members[entry.name] = file.read()
    if change == "alter":
        members[evidence.CHECK] = members[evidence.CHECK].replace(b'"points": 15.0', b'"points": 20.0')
    elif change == "add":
        members["more.txt"] = b"more"
    else:
        del members["journal.jsonl"]
    path.write_bytes(evidence.packed(members))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("alter", ("bob/bundle.tar.gz: check.json", Change.ALTERED)),
        ("add", ("bob/bundle.tar.gz: more.txt", Change.ADDED)),
        ("remove", ("bob/bundle.tar.gz: journal.jsonl", Change.MISSING)),
    ],
)
def test_a_changed_bundle_is_named_with_what_changed_in_it(
    tmp_path: Path, change: str, named: tuple[str, Change]
) -> None:
    told = a_class(tmp_path)
    repacked(tmp_path / "bob" / evidence.BUNDLE, change)
    found = verify(tmp_path)
    assert named in {(one.path, one.change) for one in found.findings}
    assert not any(one.path.startswith("ana") for one in found.findings) and found.digest != told


def test_a_changed_report_is_named(tmp_path: Path) -> None:
    a_class(tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    report["students"][1]["points"] = 20
    (tmp_path / "report.json").write_text(json.dumps(report))
    named = {(one.path, one.change) for one in verify(tmp_path).findings}
    assert {("report.json", Change.ALTERED), ("report.json: bob", Change.MARK)} <= named


def test_whoever_makes_the_chains_anew_has_another_digest(tmp_path: Path) -> None:
    told = a_class(tmp_path)
    links, _ = evidence.read_chain((tmp_path / "seal.json").read_bytes())
    (tmp_path / "moodle.csv").write_text("useremail,grade,feedback\r\nbob,50,\r\n")
    changed = evidence.chained((link.member, evidence.digest((tmp_path / link.member).read_bytes())) for link in links)
    (tmp_path / "seal.json").write_bytes(evidence.chain_text(changed))
    found = verify(tmp_path)
    assert not found.findings and found.digest != told


def test_what_is_missing_or_broken_is_named_and_nothing_else_happens(tmp_path: Path) -> None:
    a_class(tmp_path)
    (tmp_path / "ana" / evidence.BUNDLE).write_bytes(b"\x1f\x8bno")
    shutil.rmtree(tmp_path / "bob")
    named = {(one.path, one.change) for one in verify(tmp_path).findings}
    assert ("ana/bundle.tar.gz", Change.UNREADABLE) in named and ("bob/chain.json", Change.MISSING) in named
    (tmp_path / "seal.json").write_text("[]")
    assert verify(tmp_path).findings[0].change is Change.UNREADABLE
    with pytest.raises(UsageError, match="no results"):
        verify(tmp_path / "ana")


def test_a_result_is_found_again_only_under_what_it_was_made_of(tmp_path: Path) -> None:
    path, who = tmp_path / "result.json", student("ana")
    key = key_of(archive="1", lab=b"2", hidden=None)
    assert key != key_of(archive="1", lab=b"2", hidden="") and key != key_of(archive="12", lab=b"", hidden=None)
    marks = Checked.of(checked(check(1, 0.5)))
    result = Result(who, Outcome.GRADED, "", marks, ("n",), {"h": ("l",)}, seconds=1.5, digest="d")
    keep(path, key, result, 120)
    assert find_kept(path, key, who, 120) == result
    assert find_kept(path, key_of(archive="other"), who, 120) is None
    assert [one.name for one in tmp_path.iterdir()] == ["result.json"]
    path.write_bytes(path.read_bytes()[:-20])
    assert find_kept(path, key, who, 120) is None


@pytest.mark.parametrize(("outcome", "again_with_120", "again_with_240"), [
    (Outcome.ENDED, False, True), (Outcome.REFUSED, False, False), (Outcome.UNGRADED, True, True),
])  # fmt: skip
def test_what_time_or_the_machine_decided_is_tried_again(
    tmp_path: Path, outcome: Outcome, again_with_120: bool, again_with_240: bool
) -> None:
    keep(tmp_path / "r", "key", Result(student("ana"), outcome, "why"), 120)
    assert (find_kept(tmp_path / "r", "key", student("ana"), 120) is None) == again_with_120
    assert (find_kept(tmp_path / "r", "key", student("ana"), 240) is None) == again_with_240
