"""Archives of labs, `NAME.trenza`: written from what the keeper tells, read as if a stranger had made them.

An archive is a gzipped ustar of regular files and of nothing else: `manifest.json` first, which names every other
member with its length and digest; then `lab.yaml`, `sources/NAME` (files beside the lab that it takes),
`commands.jsonl`, `state.json` and `files/NODE/PATH` (a container's node as `HOST+NAME`).

Reading never touches the disk: members are taken one by one into memory, under caps, and the reader has its own few
lines for tar, because tarfile follows lengths and extensions that a stranger wrote wherever they lead.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from trenza.errors import UsageError
from trenza.model.plain import plain_state, state_of_plain
from trenza.model.state import State

VERSION = 1
SUFFIX = ".trenza"
MAX_ARCHIVE_BYTES = 64 << 20
MAX_UNPACKED_BYTES = 56 << 20
FREE_BYTES = 8 << 20
MAX_RATIO = 200
"""How many times its size an archive may unpack to, once it is beyond `FREE_BYTES`."""

MAX_MEMBERS = 3000
_MAX_MEMBER_BYTES = {
    "manifest.json": 4 << 20, "lab.yaml": 1 << 20, "commands.jsonl": 16 << 20, "state.json": 16 << 20,
}  # fmt: skip
_MAX_FILE_BYTES = 1 << 20
_MAX_SOURCE_BYTES = 16 << 20
_BLOCK = 512
_CHUNK_BYTES = 1 << 16
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}(/[A-Za-z0-9][A-Za-z0-9-]{0,39})?")
_UNFIT = re.compile("[\0\ud800-\udfff]")
_ACTIONS: Mapping[str, frozenset[str]] = {
    "launch": frozenset({"host", "name"}),
    "start": frozenset({"node"}),
    "stop": frozenset({"node"}),
    "restart": frozenset({"node"}),
    "rm": frozenset({"node"}),
    "put": frozenset({"node", "path"}),
    "fault": frozenset({"words", "options", "for"}),
    "heal": frozenset({"words"}),
}
"""What may be asked of a keeper on behalf of an archive, and with which fields."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """How a lab was started and when it was saved (seconds since the epoch); `launched` maps containers to hosts."""

    lab: str
    mode: str
    saved_s: float
    title: Mapping[str, str] = field(default_factory=dict)
    until: str | None = None
    profile: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    variants: tuple[str, ...] = ()
    launched: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    """What was not saved, in words."""
    has_etcd: bool = True
    """Whether the machine had etcd when the lab was made; archives of before do not say so."""


@dataclass(frozen=True, slots=True)
class SavedCommand:
    """A line typed in a shell of a node, or by `exec`, or something done to nodes from outside (`action`).

    `status` is None for what was still running. Of lines of one `session`, those with one `shell` were typed in one
    shell; what `exec` ran has none. `pids` names the containers whose pid a line holds.
    """

    node: str
    line: str
    status: int | None
    began_s: float
    ended_s: float
    session: str = ""
    shell: str = ""
    user: str | None = None
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    pids: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    """Whether only its beginning was kept."""
    stdin: bool = False
    """Whether the line is what a shell was given as its input."""
    action: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file that a person wrote or changed in a node."""

    node: str
    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644
    owner: str = "root"


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved lab: how it was started, from what, what was done in it, the files people wrote, and what it came to."""

    manifest: Manifest
    source: bytes
    sources: Mapping[str, bytes] = field(default_factory=dict)
    commands: tuple[SavedCommand, ...] = ()
    files: tuple[SavedFile, ...] = ()
    state: State = State()


# ---------------------------------------------------------------- writing
def write_archive(saved: Saved, path: Path) -> None:
    """Write an archive, whole or not at all. Raises UsageError if it cannot be written there, or not be read again."""
    packed = archived(saved)
    try:
        read_archived(io.BytesIO(packed))
    except _Bad as error:
        raise UsageError(f"this lab cannot be saved, because nobody would read its archive: {error}") from error
    temporary = path.with_name(f".{path.name}.new")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "wb") as file:
            file.write(packed)
        temporary.rename(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def archived(saved: Saved) -> bytes:
    """An archive's bytes; the same for the same `saved`."""
    members: dict[str, bytes] = {"lab.yaml": saved.source}
    members |= {f"sources/{name}": content for name, content in sorted(saved.sources.items())}
    members["commands.jsonl"] = "".join(f"{_json(_plain_command(each))}\n" for each in saved.commands).encode()
    members["state.json"] = _json(plain_state(saved.state)).encode()
    files = {_member_of(file.node, file.path): file for file in saved.files}
    members |= {name: file.content for name, file in files.items()}
    one = saved.manifest
    manifest = {
        "version": VERSION, "lab": one.lab, "title": dict(one.title), "mode": one.mode, "until": one.until,
        "profile": one.profile, "parameters": dict(one.parameters), "variants": list(one.variants),
        "saved_s": one.saved_s, "launched": dict(one.launched), "left_out": list(one.left_out),
        "has_etcd": one.has_etcd,
        "members": {name: {"bytes": len(content), "blake2b": _digest(content)} for name, content in members.items()},
        "files": {
            name: {"node": file.node, "path": file.path, "mode": file.mode, "owner": file.owner}
            for name, file in files.items()
        },
    }  # fmt: skip
    packed = _tar({"manifest.json": _json(manifest).encode(), **members}, int(one.saved_s))
    best = _gzip(packed, 6)
    # What is mostly zeros would look like a bomb: it is not compressed then.
    return best if len(packed) <= max(FREE_BYTES, MAX_RATIO * len(best)) else _gzip(packed, 0)


def _tar(members: Mapping[str, bytes], time_s: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT, encoding="utf-8") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(content), max(0, time_s), 0o644
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def _gzip(data: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, wbits=31)
    return packer.compress(data) + packer.flush()


def fits(node: str, path: str) -> bool:
    """Whether a file's name fits into an archive: ustar has 100 bytes for a name and 155 for what leads to it."""
    try:
        tarfile.TarInfo(_member_of(node, path)).tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
    except ValueError:
        return False
    return True


def _member_of(node: str, path: str) -> str:
    return f"files/{node.replace('/', '+')}{path}"


def _plain_command(command: SavedCommand) -> dict[str, Any]:
    required = {"node": command.node, "line": command.line, "status": command.status, "began": command.began_s,
                "time": command.ended_s}  # fmt: skip
    rest = {name: getattr(command, name) for name in _COMMAND_FIELDS}
    return {**required, **{name: _dict_or(value) for name, value in rest.items() if value}}


def _dict_or(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=32).hexdigest()


# ---------------------------------------------------------------- reading
def read_archive(path: Path) -> Saved:
    """What an archive holds. Raises UsageError with the reason for everything that `write_archive` would not write."""
    try:
        with _opened(path) as file:
            return read_archived(file)
    except _Bad as error:
        raise UsageError(f"{path} is no archive that can be trusted: {error}", hint="make one: trenza save") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _opened(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{path} is no file")
    return os.fdopen(descriptor, "rb")


class _Bad(Exception):
    """Why an archive is refused."""


def read_archived(file: BinaryIO) -> Saved:
    members = _members(_Unpacked(file))
    name, content = next(members, ("", b""))
    if name != "manifest.json":
        raise _Bad("its first member is not manifest.json")
    given = _object(_parsed(content, "manifest.json"), "manifest.json")
    if given.get("version") != VERSION:
        raise _Bad(f"it has version {str(given.get('version'))[:20]!r} and this trenza reads {VERSION}")
    expected = _object(given.get("members"), "its list of members")
    held: dict[str, bytes] = {}
    for name, content in members:
        told = expected.get(name)
        if told is None:
            raise _Bad(f"its manifest does not name {name!r}")
        if told != {"bytes": len(content), "blake2b": _digest(content)}:
            raise _Bad(f"{name} is not what its manifest says")
        held[name] = content
    if missing := expected.keys() - held.keys():
        raise _Bad(f"{min(missing)[:200]!r} is missing")
    for name in ("lab.yaml", "commands.jsonl", "state.json"):
        if name not in held:
            raise _Bad(f"{name} is missing")
    sources = {name.removeprefix("sources/"): content for name, content in held.items() if name.startswith("sources/")}
    try:
        state = state_of_plain(_parsed(held["state.json"], "state.json"))
    except (ValueError, TypeError) as error:
        raise _Bad(f"state.json: {str(error)[:200]}") from error
    return Saved(
        _manifest(given),
        held["lab.yaml"],
        sources,
        tuple(_commands(held["commands.jsonl"])),
        tuple(_files(_object(given.get("files"), "its list of files"), held)),
        state,
    )


class _Unpacked:
    """The bytes in a gzip file, one after the other, never many at a time and never too many."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(wbits=31)
        self._buffer = bytearray()
        self._packed_bytes = 0
        self._bytes = 0

    def read(self, size: int) -> bytes:
        """Exactly so many bytes, or fewer at the end."""
        while len(self._buffer) < size and self._more():
            pass
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _more(self) -> bool:
        """Unpack a piece; False at the end."""
        if self._inflate.eof:
            if self._inflate.unused_data or self._file.read(1):
                raise _Bad("something follows its end")
            return False
        packed = self._inflate.unconsumed_tail or self._file.read(_CHUNK_BYTES)
        if not packed:
            raise _Bad("it is cut")
        if not self._inflate.unconsumed_tail:
            self._packed_bytes += len(packed)
        try:
            piece = self._inflate.decompress(packed, _CHUNK_BYTES)
        except zlib.error as error:
            raise _Bad("it is not gzip, or damaged") from error
        self._bytes += len(piece)
        if self._packed_bytes > MAX_ARCHIVE_BYTES or self._bytes > MAX_UNPACKED_BYTES:
            raise _Bad(f"it holds more than {MAX_UNPACKED_BYTES >> 20} MiB")
        if self._bytes > max(FREE_BYTES, MAX_RATIO * self._packed_bytes):
            raise _Bad(f"it unpacks to more than {MAX_RATIO} times its size")
        self._buffer += piece
        return True


def _members(unpacked: _Unpacked) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a ustar's members, each checked before it is read."""
    seen: set[str] = set()
    while True:
        header = unpacked.read(_BLOCK)
        if len(header) < _BLOCK:
            raise _Bad("it is cut")
        if not any(header):
            while rest := unpacked.read(_CHUNK_BYTES):
                if any(rest):
                    raise _Bad("something follows its end")
            return
        name, size = _header(header)
        if name in seen:
            raise _Bad(f"{name!r} is there twice")
        seen.add(name)
        if len(seen) > MAX_MEMBERS:
            raise _Bad(f"it has more than {MAX_MEMBERS} members")
        content = unpacked.read(size)
        padding = unpacked.read(-size % _BLOCK)
        if len(content) < size or len(padding) < -size % _BLOCK:
            raise _Bad("it is cut")
        yield name, content


def _header(header: bytes) -> tuple[str, int]:
    """Name and length that a header gives."""
    if header[257:263] != b"ustar\0":
        raise _Bad("it is no ustar archive")
    if _octal(header[148:156]) != sum(header[:148]) + sum(header[156:]) + 8 * 32:
        raise _Bad("a header's checksum is wrong")
    parts = [header[345:500].split(b"\0")[0], header[:100].split(b"\0")[0]]
    try:
        name = b"/".join(part for part in parts if part).decode()
    except UnicodeDecodeError as error:
        raise _Bad("a name is not UTF-8") from error
    if header[156:157] not in (b"0", b"\0") or any(header[157:257]):
        raise _Bad(f"{name!r} is no regular file")
    if not name.isprintable() or any(part in ("", ".", "..") for part in name.split("/")):
        raise _Bad(f"it has a member {name!r}")
    first, slash, rest = name.partition("/")
    known = {"files": _MAX_FILE_BYTES, "sources": _MAX_SOURCE_BYTES} if slash else _MAX_MEMBER_BYTES
    if first not in known or (first == "files" and "/" not in rest):
        raise _Bad(f"it has a member {name!r}")
    size = _octal(header[124:136])
    if size > known[first]:
        raise _Bad(f"{name} is larger than {known[first] >> 10} KiB")
    return name, size


def _octal(digits: bytes) -> int:
    text = digits.rstrip(b" \0")
    if not re.fullmatch(rb" *[0-7]{1,11}", text):
        raise _Bad("a header holds no number where one belongs")
    return int(text, 8)


# ---------------------------------------------------------------- what members hold
def _parsed(content: bytes, where: str) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _Bad(f"{where} is not JSON") from error


def _object(data: object, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _Bad(f"{where} is no object")
    return data


def _is_text(value: object) -> bool:
    return isinstance(value, str) and _UNFIT.search(value) is None


def _is_text_or_none(value: object) -> bool:
    return value is None or _is_text(value)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_table(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12  # NaN is not


def _is_status(value: object) -> bool:
    return value is None or type(value) is int


def _is_flag(value: object) -> bool:
    return type(value) is bool


def _is_action(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("verb"), str) or value["verb"] not in _ACTIONS:
        return False
    fields = {name: part for name, part in value.items() if name != "verb"}
    kinds = {"words": _is_texts, "options": _is_table}
    return fields.keys() <= _ACTIONS[value["verb"]] and all(
        kinds.get(name, _is_text)(part) for name, part in fields.items()
    )


_COMMAND_FIELDS: Mapping[str, Callable[[object], bool]] = {
    "session": _is_text, "shell": _is_text, "user": _is_text, "cwd": _is_text, "env": _is_table, "pids": _is_table,
    "cut": _is_flag, "stdin": _is_flag, "action": _is_action,
}  # fmt: skip


def _checked(given: Mapping[str, Any], kinds: Mapping[str, Callable[[object], bool]], where: str) -> None:
    for name, is_right in kinds.items():
        if name not in given or not is_right(given[name]):
            raise _Bad(f"{where}: {name} is missing or not what it should be")


def _manifest(given: Mapping[str, Any]) -> Manifest:
    kinds: Mapping[str, Callable[[object], bool]] = {
        "lab": _is_text, "mode": lambda mode: mode in ("full", "start", "until"), "saved_s": _is_number,
        "title": _is_table, "until": _is_text_or_none, "profile": _is_text_or_none, "parameters": _is_table,
        "variants": _is_texts, "launched": _is_table, "left_out": _is_texts, "has_etcd": _is_flag,
    }  # fmt: skip
    given = {"has_etcd": True, **given}
    _checked(given, kinds, "manifest.json")
    fields = {name: given[name] for name in kinds}
    return Manifest(**{**fields, "variants": tuple(given["variants"]), "left_out": tuple(given["left_out"])})


def _commands(content: bytes) -> Iterator[SavedCommand]:
    required = {"node": _is_text, "line": _is_text, "status": _is_status, "began": _is_number, "time": _is_number}
    for number, line in enumerate(content.splitlines(), 1):
        where = f"commands.jsonl, line {number}"
        given = _object(_parsed(line, where), where)
        _checked(given, required, where)
        more = {name: given[name] for name in _COMMAND_FIELDS if name in given}
        _checked(more, {name: _COMMAND_FIELDS[name] for name in more}, where)
        yield SavedCommand(given["node"], given["line"], given["status"], given["began"], given["time"], **more)


def _files(told: Mapping[str, Any], held: Mapping[str, bytes]) -> Iterator[SavedFile]:
    kinds: Mapping[str, Callable[[object], bool]] = {
        "node": lambda node: isinstance(node, str) and _NODE.fullmatch(node) is not None,
        "path": _is_text,
        "mode": lambda mode: type(mode) is int and 0 <= mode <= 0o7777,
        "owner": _is_text,
    }
    if told.keys() != {name for name in held if name.startswith("files/")}:
        raise _Bad("its list of files is not that of its members")
    for name, one in told.items():
        given = _object(one, "its list of files")
        _checked(given, kinds, name)
        if _member_of(given["node"], given["path"]) != name:
            raise _Bad(f"{name} is not where its manifest says")
        yield SavedFile(given["node"], given["path"], held[name], given["mode"], given["owner"])
