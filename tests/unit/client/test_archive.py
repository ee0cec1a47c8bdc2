"""Archives: read as they were written, and refused, quickly and in little memory, if a stranger made them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import time
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trenza.client import archive
from trenza.client.archive import (
    Manifest,
    Saved,
    SavedCommand,
    SavedFile,
    archived,
    fits,
    read_archive,
    write_archive,
)
from trenza.client.labfiles import is_archive
from trenza.errors import UsageError
from trenza.model.names import NodeName
from trenza.model.state import Node, NodeKind, State

SAVED = Saved(
    Manifest("small", "until", 1000.5, {"en": "S"}, "first", None, {"a": "1"}, ("v",), {"h1/c": "h1"}, ("h1:/x",)),
    b"lab: small\n",
    {"dir/page.html": b"<p>"},
    (
        SavedCommand("h1", "ip link", 0, 1.0, 2.0, "s", "1.2"),
        SavedCommand("h1", "ñandú\n\t'x'", None, 3.0, 4.0, user="www", cwd="/srv", env={"A": "b"}, pids={"7": "h1/c"}),
        SavedCommand("", "trenza fault cut w1", 0, 5.0, 5.0, action={"verb": "fault", "words": ["cut"], "for": "3s"}),
    ),
    (SavedFile("h1/c1", "/etc/hosts", b"\0\xff", 0o600, "33"), SavedFile("h1", "/root/ñ", b"")),
    State.of([Node(NodeName("h1"), NodeKind.HOST, None, "h1")]),
)  # fmt: skip


def test_an_archive_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "small.trenza"
    write_archive(SAVED, path)
    assert is_archive(path)
    assert read_archive(path) == SAVED
    assert archived(SAVED) == path.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["small.trenza"]


def test_an_archive_knows_whether_the_lab_was_made_with_etcd(tmp_path: Path) -> None:
    path = tmp_path / "small.trenza"
    without = replace(SAVED, manifest=replace(SAVED.manifest, has_etcd=False))
    write_archive(without, path)
    assert read_archive(path) == without
    given = json.loads(members()["manifest.json"])
    assert given.pop("has_etcd") is True
    path.write_bytes(packed(manifest=json.dumps(given).encode()))  # one of before says nothing
    assert read_archive(path) == SAVED


def test_files_of_nothing_but_zeros_can_be_saved(tmp_path: Path) -> None:
    zeros = Saved(SAVED.manifest, b"", files=tuple(SavedFile("h1", f"/z{n}", bytes(1 << 20)) for n in range(16)))
    write_archive(zeros, tmp_path / "z")
    assert read_archive(tmp_path / "z") == zeros


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        write_archive(SAVED, tmp_path / "nowhere" / "x")


def test_names_that_do_not_fit_are_known_before() -> None:
    assert fits("h1", "/" + "/".join(["d" * 50] * 3))
    assert not fits("h1", "/" + "n" * 120)


# ---------------------------------------------------------------- strangers
def members() -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archived(SAVED))) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


Member = tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]


def packed(*extra: Member, format_: int = tarfile.USTAR_FORMAT, **changed: Any) -> bytes:
    """The archive with members changed, and more of them after its own."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as tar:
        for name, content in members().items():
            content = changed.get(name.partition(".")[0], content)
            if content is not None:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        for one in extra:
            info, content = one if isinstance(one, tuple) else (one, b"")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue())


def info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    one = tarfile.TarInfo(name)
    one.type, one.linkname = kind, link
    return one


def manifest(**changed: Any) -> bytes:
    given = json.loads(members()["manifest.json"])
    return json.dumps({**given, **changed}).encode()


def listed(name: str, content: bytes, file: Any = None) -> bytes:
    """A manifest that names one more member."""
    given = json.loads(members()["manifest.json"])
    digest = hashlib.blake2b(content, digest_size=32).hexdigest()
    given["members"][name] = {"bytes": len(content), "blake2b": digest}
    if file is not None:
        given["files"][name] = file
    return json.dumps(given).encode()


def placed(name: str, **where: Any) -> bytes:
    """The archive with one more file, said to be somewhere."""
    told = {"node": "h2", "path": "/x", "mode": 0o644, "owner": "root", **where}
    return packed((info(name), b""), manifest=listed(name, b"", told))


def refusal(data: bytes, tmp_path: Path) -> str:
    path = tmp_path / "bad.trenza"
    path.write_bytes(data)
    with pytest.raises(UsageError) as error:
        read_archive(path)
    assert str(path) in error.value.message
    return error.value.message


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "cut"),
    "text": (lambda: b"lab: small\n", "not gzip"),
    "cut": (lambda: archived(SAVED)[:-30], "cut"),
    "more": (lambda: archived(SAVED) + b"x", "follows"),
    "second gzip": (lambda: archived(SAVED) * 2, "follows"),
    "empty gzip": (lambda: gzip.compress(b""), "cut"),
    "one block": (lambda: gzip.compress(bytes(512)), "not manifest.json"),
    "not tar": (lambda: gzip.compress(b"x" * 2048), "ustar"),
    "gnu tar": (lambda: packed(format_=tarfile.GNU_FORMAT), "ustar"),
    "pax": (lambda: packed(info("files/h1/" + "n" * 300), format_=tarfile.PAX_FORMAT), "no regular|a member"),
    "dots": (lambda: packed(info("../../etc/passwd")), "a member"),
    "dots within": (lambda: packed(info("files/h1/../../x")), "a member"),
    "dots below sources": (lambda: packed(info("sources/../x")), "a member"),
    "absolute": (lambda: packed(info("/etc/passwd")), "a member"),
    "unknown": (lambda: packed(info("extra")), "a member"),
    "only a directory's name": (lambda: packed(info("files/h1")), "a member"),
    "symlink": (lambda: packed(info("files/h1/x", tarfile.SYMTYPE, "/etc/passwd")), "no regular"),
    "hard link": (lambda: packed(info("files/h1/x", tarfile.LNKTYPE, "lab.yaml")), "no regular"),
    "device": (lambda: packed(info("files/h1/x", tarfile.CHRTYPE)), "no regular"),
    "block device": (lambda: packed(info("files/h1/x", tarfile.BLKTYPE)), "no regular"),
    "fifo": (lambda: packed(info("files/h1/x", tarfile.FIFOTYPE)), "no regular"),
    "directory": (lambda: packed(info("files/h1/x", tarfile.DIRTYPE)), "no regular|a member"),
    "sparse": (lambda: packed(info("files/h1/x", b"S")), "no regular"),
    "contiguous": (lambda: packed(info("files/h1/x", b"7")), "no regular"),
    "twice": (lambda: packed(info("lab.yaml")), "twice"),
    "control characters": (lambda: packed(info("files/h1/\x1b[2J")), "a member"),
    "not named": (lambda: packed(info("files/h1/x")), "does not name"),
    "wrong content": (lambda: packed(lab=b"lab: other\n"), "not what its manifest says"),
    "missing": (lambda: packed(lab=None), "missing"),
    "large file": (lambda: packed((info("files/h1/x"), bytes((1 << 20) + 1))), "larger"),
    "manifest is no JSON": (lambda: packed(manifest=b"{"), "not JSON"),
    "manifest is deep": (lambda: packed(manifest=b"[" * 200_000), "not JSON"),
    "manifest is a list": (lambda: packed(manifest=b"[]"), "no object"),
    "manifest of tomorrow": (lambda: packed(manifest=manifest(version=2)), "version"),
    "no lab": (lambda: packed(manifest=manifest(lab=None)), "lab is missing"),
    "bad mode": (lambda: packed(manifest=manifest(mode="root")), "mode is"),
    "bad moment": (lambda: packed(manifest=manifest(saved_s=float("nan"))), "saved_s is"),
    "bad parameters": (lambda: packed(manifest=manifest(parameters={"a": [1]})), "parameters is"),
    "members is a list": (lambda: packed(manifest=manifest(members=[])), "no object"),
    "files elsewhere": (lambda: packed(manifest=manifest(files={})), "list of files"),
    "file of another node": (lambda: placed("files/h2/x", node="h1"), "not where"),
    "file of another place": (lambda: placed("files/h2/x", path="/y"), "not where"),
    "a node that is none": (lambda: placed("files/h2/x", node="h2\n"), "node is"),
    "a mode that is none": (lambda: placed("files/h2/x", mode=1 << 20), "mode is"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "said"), HOSTILE.values(), ids=HOSTILE)
def test_a_strangers_archive_is_refused(make: Callable[[], bytes], said: str, tmp_path: Path) -> None:
    assert re.search(said, refusal(make(), tmp_path))


def command(**fields: Any) -> bytes:
    return json.dumps({"node": "h1", "line": "ls", "status": 0, "began": 1, "time": 2, **fields}).encode() + b"\n"


@pytest.mark.parametrize(
    "line",
    [
        b"[]\n", b"{}\n", b"x\n", command(status="0"), command(status=True), command(began="1"), command(time=1e400),
        command(line=None), command(line="a\0b"), command(line="\ud800"), command(node=["h1"]), command(env={"A": 1}),
        command(env=["A"]), command(cut=1), command(action={"verb": "up"}), command(action={"verb": ["launch"]}),
        command(action={"verb": "launch", "host": "h1", "name": "x", "descriptors": "8"}),
        command(action={"verb": "heal", "words": "all"}), command(action={"verb": "put", "node": "h1", "content": "x"}),
        command(action=[]), command(user=5), command(pids={"1": 2}),
    ],
)  # fmt: skip
def test_a_command_that_nobody_typed_is_refused(line: bytes, tmp_path: Path) -> None:
    data = packed(commands=line, manifest=listed("commands.jsonl", line))
    assert "commands.jsonl, line 1" in refusal(data, tmp_path)


@pytest.mark.parametrize("state", [b"{}", b"[{}]", b'[{"is": "Node"}]', b"[" * 100_000, b"\xff", b'[{"is": {}}]'])
def test_a_state_that_is_none_is_refused(state: bytes, tmp_path: Path) -> None:
    assert "state.json" in refusal(packed(state=state, manifest=listed("state.json", state)), tmp_path)


def test_two_gigabytes_of_zeros_are_refused_quickly_and_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "zeros.trenza"
    packer = zlib.compressobj(9, wbits=31)
    with path.open("wb") as file:
        for _ in range(2048):
            file.write(packer.compress(bytes(1 << 20)))
        file.write(packer.flush())
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(UsageError):
        read_archive(path)
    assert time.process_time() - began < 2
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_bomb_in_a_member_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    one = info("files/h1/x")
    one.size = 2 << 30
    data = b"".join([tar_of_the_archive()[:-1024], one.tobuf(tarfile.USTAR_FORMAT), bytes(1 << 20)])
    assert "larger" in refusal(gzip.compress(data), tmp_path)


def tar_of_the_archive() -> bytes:
    data = gzip.decompress(archived(SAVED))
    return data[: len(data.rstrip(b"\0")) // 512 * 512 + 512 + 1024]


def test_an_archive_that_unpacks_to_many_times_its_size_is_refused(tmp_path: Path) -> None:
    zeros = Saved(SAVED.manifest, b"", files=tuple(SavedFile("h1", f"/z{n}", bytes(1 << 20)) for n in range(16)))
    data = gzip.compress(gzip.decompress(archived(zeros)), 9)
    assert "times its size" in refusal(data, tmp_path)


def test_thousands_of_members_are_refused(tmp_path: Path) -> None:
    files = tuple(SavedFile("h1", f"/{number}", b"") for number in range(archive.MAX_MEMBERS + 1))
    assert "members" in refusal(archived(Saved(SAVED.manifest, b"", files=files)), tmp_path)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero"), tmp_path / "nothing"):
        with pytest.raises(UsageError):
            read_archive(path)
        assert not is_archive(path)


WHOLE = archived(SAVED)
UNPACKED = gzip.decompress(WHOLE)


@settings(max_examples=int(os.environ.get("TRENZA_MUTANTS", "300")), deadline=None)
@given(st.data())
def test_a_mutated_archive_is_read_or_refused_and_nothing_else(tmp_path_factory: Any, data: st.DataObject) -> None:
    mutant = bytearray(UNPACKED)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutant) - 1))
        match data.draw(st.integers(0, 2)):
            case 0:
                mutant[at] = data.draw(st.integers(0, 255))
            case 1:
                del mutant[at : at + data.draw(st.integers(1, 600))]
                mutant = mutant or bytearray(1)
            case 2:
                mutant[at:at] = data.draw(st.binary(max_size=20))
    path = tmp_path_factory.getbasetemp() / "mutant.trenza"
    path.write_bytes(gzip.compress(bytes(mutant), 1))
    try:
        read_archive(path)
    except UsageError:
        pass


def test_reading_does_not_open_descriptors_that_stay(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for make, _ in HOSTILE.values():
        refusal(make(), tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
