"""Which lab is meant: a file, a directory, the name of a shipped lab, or what is here or runs."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from trenza.errors import UsageError

SHIPPED = Path(__file__).resolve().parents[1] / "labs"
LAB_FILES = ("lab.yaml", "lab.yml")
_NAME = re.compile(rb"""^lab\s*:\s*["']?([A-Za-z0-9][A-Za-z0-9_.-]*)["']?\s*(?:#.*)?\r?$""", re.MULTILINE)
_GOOD_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True)
class LabFile:
    """A lab file's bytes and where they lie. `file` is its absolute path; `shipped` if it came with trenza."""

    source: bytes
    file: str
    shipped: bool

    @property
    def directory(self) -> str:
        return str(Path(self.file).parent)

    def shown(self) -> str:
        """The path as a person would type it."""
        path = Path(self.file)
        try:
            return str(path.relative_to(Path.cwd()))
        except ValueError:
            return self.file

    def find_name(self) -> str | None:
        """The lab's name, read without reading the rest; None if it is not written plainly."""
        match = _NAME.search(self.source)
        return None if match is None else match.group(1).decode()


def is_archive(path: Path) -> bool:
    """Whether a file is no lab file but what `trenza save` writes: it begins as gzip does."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(2) == b"\x1f\x8b"
    except OSError:
        return False


def shipped_labs() -> dict[str, Path]:
    """Names of the labs that come with trenza, and their files."""
    return {path.parent.name: path for path in sorted(SHIPPED.glob("*/lab.yaml"))}


def get_lab_file(given: str | None) -> LabFile:
    """The lab file that a word means; without one, `lab.yaml` here. Raises UsageError saying what there is."""
    shipped = shipped_labs()
    if given is None:
        for name in LAB_FILES:
            if Path(name).is_file():
                return _read(Path(name), shipped=False)
        raise UsageError("no lab given, and no lab.yaml here", hint=f"shipped labs: {', '.join(shipped)}")
    path = Path(given)
    if path.is_dir():
        for name in LAB_FILES:
            if (path / name).is_file():
                return _read(path / name, shipped=False)
        if given not in shipped:
            raise UsageError(f"no lab.yaml in {given}")
    if path.is_file():
        return _read(path, shipped=False)
    if given in shipped:
        return _read(shipped[given], shipped=True)
    nearby = [str(each) for each in Path().glob("*.y*ml")]
    close = difflib.get_close_matches(given, [*shipped, *nearby], n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"shipped labs: {', '.join(shipped)}"
    raise UsageError(f"no file, directory or shipped lab {given!r}", hint=hint)


def _read(path: Path, *, shipped: bool) -> LabFile:
    if is_archive(path):
        raise UsageError(f"{path} is a saved lab, not a lab file", hint=f"trenza up {path}")
    try:
        return LabFile(path.read_bytes(), str(path.resolve()), shipped)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def check_name(name: str) -> str:
    """A name under which a lab may run; raises UsageError."""
    if not _GOOD_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a lab",
            hint="use up to 40 small letters, digits and hyphens, beginning with a letter",
        )
    return name
