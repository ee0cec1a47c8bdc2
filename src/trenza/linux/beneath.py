"""Files of a node, reached from outside it without being led astray by its symbolic links.

Every path is resolved by openat2(2) with RESOLVE_IN_ROOT, which takes the node's root for `/` whatever links the
node's owner made, and never follows a magic link of /proc.
"""

from __future__ import annotations

import ctypes
import errno
import os
import posixpath
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from trenza.linux import syscalls

_OPENAT2: Final = 437
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_BENEATH: Final = 0x08
_RESOLVE_IN_ROOT: Final = 0x10
_libc = ctypes.CDLL(None, use_errno=True)


def _openat2(directory: int, path: str, flags: int, mode: int, resolve: int) -> int:
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, resolve | _RESOLVE_NO_MAGICLINKS)
    result = _libc.syscall(
        ctypes.c_long(_OPENAT2), ctypes.c_int(directory), os.fsencode(path), how, ctypes.c_size_t(len(how))
    )
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return int(result)


def open_in_root(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Open a path as a process of the node would; `root` is a descriptor of the node's root directory."""
    return _openat2(root, path, flags, mode, _RESOLVE_IN_ROOT)


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open a file that must lie below `directory`; a link or `..` that leads out is refused with EXDEV."""
    return _openat2(directory, path, flags, 0, _RESOLVE_BENEATH)


@contextmanager
def root_of(pid: int) -> Iterator[int]:
    """A descriptor of a process's root directory."""
    descriptor = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """Within the block new files belong to `uid`, as the file systems of nodes insist; nothing else changes."""
    syscalls.act_on_files_as(uid, uid)
    try:
        yield
    finally:
        syscalls.act_on_files_as(0, 0)


def make_directories(root: int, path: str) -> None:
    """Make a directory of the node and its parents where they are missing."""
    done = ""
    for part in [piece for piece in posixpath.normpath("/" + path).split("/") if piece]:
        parent = open_in_root(root, done or "/", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.mkdir(part, 0o755, dir_fd=parent)
        except FileExistsError:
            pass
        finally:
            os.close(parent)
        done += "/" + part


def write_file(root: int, path: str, content: bytes, *, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Replace a file of the node, atomically: a reader sees the old bytes or the new ones.

    `owner` is uid and gid as this process knows them; None leaves it to whom we act as.
    """
    directory, name = posixpath.split(posixpath.normpath("/" + path))
    make_directories(root, directory)
    parent = open_in_root(root, directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        temporary = f".{name}.trenza"
        _unlink_if_there(temporary, parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600, dir_fd=parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                if owner is not None:
                    os.fchown(file.fileno(), *owner)
                os.fchmod(file.fileno(), mode)
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except OSError:
            _unlink_if_there(temporary, parent)
            raise
    finally:
        os.close(parent)


def _unlink_if_there(name: str, parent: int) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass


def remove_file(root: int, path: str) -> None:
    """Remove a file of the node, if it is there."""
    directory, name = posixpath.split(posixpath.normpath("/" + path))
    try:
        parent = open_in_root(root, directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        _unlink_if_there(name, parent)
    finally:
        os.close(parent)


def size_of(root: int, path: str) -> int:
    """A file's size in bytes; 0 if it is not there."""
    try:
        descriptor = open_in_root(root, path, os.O_PATH)
    except OSError:
        return 0
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def read_file(root: int, path: str, *, limit_bytes: int) -> tuple[bytes, os.stat_result] | None:
    """A regular file's bytes and status, or None if it is not there, not a file, or larger than the limit."""
    try:
        descriptor = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EAGAIN):
            return None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit_bytes:
            return None
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(limit_bytes), status
    finally:
        os.close(descriptor)
