"""What a volume of given files shows, changed in one step.

As a kubelet has it, `..data` is a link to a directory with the files, and each name in the volume a link through it.
New files are written into a directory of their own and the link is renamed: who looks sees all old ones, or all new.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from typing import Final

Files = Mapping[str, tuple[bytes, int]]
"""Bytes and mode, by path."""

DATA: Final = "..data"
_NEW: Final = "..data_tmp"
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def show(volume: int, files: Files) -> None:
    """Have a volume, a descriptor of its directory, show these files and no others. Raises OSError."""
    name = time.strftime("..%Y_%m_%d_%H_%M_%S.", time.gmtime()) + secrets.token_hex(5)
    os.mkdir(name, 0o755, dir_fd=volume)
    payload = os.open(name, _DIRECTORY, dir_fd=volume)
    try:
        for path, (content, mode) in files.items():
            _write(payload, path.split("/"), content, mode)
    finally:
        os.close(payload)
    before = _target(volume, DATA)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_NEW, dir_fd=volume)
    os.symlink(name, _NEW, dir_fd=volume)
    os.rename(_NEW, DATA, src_dir_fd=volume, dst_dir_fd=volume)
    shown = {path.partition("/")[0] for path in files}
    for one in shown:
        if _target(volume, one) is None:
            os.symlink(f"{DATA}/{one}", one, dir_fd=volume)
    for one in os.listdir(volume):
        if not one.startswith("..") and one not in shown:
            os.unlink(one, dir_fd=volume)
    if before is not None and before.startswith("..") and "/" not in before:
        shutil.rmtree(before, ignore_errors=True, dir_fd=volume)


def _target(volume: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=volume)
    except FileNotFoundError:
        return None


def _write(directory: int, path: list[str], content: bytes, mode: int) -> None:
    first, *rest = path
    if not rest:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(first, flags, 0o600, dir_fd=directory), "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
        return
    with contextlib.suppress(FileExistsError):
        os.mkdir(first, 0o755, dir_fd=directory)
    below = os.open(first, _DIRECTORY, dir_fd=directory)
    try:
        _write(below, rest, content, mode)
    finally:
        os.close(below)
