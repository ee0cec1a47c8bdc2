"""System calls that Python 3.11 has no name for, by ctypes. Standard library only: pid 1 of a sandbox lives on this."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Final

CLONE_PARENT: Final = 0x00008000
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NAME: Final = 15
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38

_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 0x04, 0x40
_MOUNT_ATTR_RDONLY: Final = 1

_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE: Final = {"x86_64": 56, "aarch64": 220}
_SIGCHLD: Final = 17
_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}


def _checked(result: int, what: str) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """unshare(2)."""
    _checked(_libc.unshare(flags), "unshare")


def clone(flags: int) -> int:
    """fork(2) with CLONE_… flags, such as new namespaces: the child's pid in the parent, 0 in the child.

    The raw system call: only for single-threaded processes, whose child soon becomes another program.
    """
    number = _CLONE[platform.machine()]
    return _checked(_libc.syscall(ctypes.c_long(number), ctypes.c_ulong(flags | _SIGCHLD), 0, 0, 0, 0), "clone")


def setns(descriptor: int, kind: int = 0) -> None:
    """setns(2); `kind` is a CLONE_NEW… flag, or 0 for any."""
    _checked(_libc.setns(descriptor, kind), "setns")


def mount(source: str | None, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    arguments = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    _checked(
        _libc.mount(arguments[0], arguments[1], arguments[2], ctypes.c_ulong(flags), arguments[3]),
        f"mount {source or kind} on {target}",
    )


def bind(source: str, target: str, flags: int = 0, *, recursive: bool = False) -> None:
    """Show `source` at `target` too; `flags` (MS_RDONLY…) take a second call, as the kernel wants it."""
    mount(source, target, None, MS_BIND | (MS_REC if recursive else 0))
    if flags:
        mount(None, target, None, MS_BIND | MS_REMOUNT | flags)


def punch_hole(descriptor: int, begin: int, size_bytes: int) -> None:
    """fallocate(2): give a part of a file back to its file system. It reads as NULs then; the file stays as long."""
    place, length = ctypes.c_longlong(begin), ctypes.c_longlong(size_bytes)
    _checked(_libc.fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, place, length), "fallocate")


def open_tree(path: str) -> int:
    """A detached copy of the mounts at and below `path`, to be attached by `move_mount`, in another namespace too."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE
    number = ctypes.c_long(_OPEN_TREE)
    result = _libc.syscall(number, ctypes.c_int(_AT_FDCWD), os.fsencode(path), ctypes.c_uint(flags))
    return _checked(result, f"open_tree {path}")


def make_tree_read_only(tree: int) -> None:
    """mount_setattr(2) on a detached tree and all that is mounted in it."""
    attributes = struct.pack("QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    flags = ctypes.c_uint(_AT_EMPTY_PATH | _AT_RECURSIVE)
    size = ctypes.c_size_t(len(attributes))
    result = _libc.syscall(ctypes.c_long(_MOUNT_SETATTR), ctypes.c_int(tree), b"", flags, attributes, size)
    _checked(result, "mount_setattr")


def move_mount(tree: int, target: int) -> None:
    """Attach a detached tree at what the descriptor `target` has open."""
    flags = ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH)
    number = ctypes.c_long(_MOVE_MOUNT)
    _checked(_libc.syscall(number, ctypes.c_int(tree), b"", ctypes.c_int(target), b"", flags), "move_mount")


def pivot_into(root: str) -> None:
    """Make `root` (a mount) the root of this mount namespace; the old one is detached."""
    os.chdir(root)
    number = _PIVOT_ROOT[platform.machine()]
    _checked(_libc.syscall(ctypes.c_long(number), b".", b"."), "pivot_root")
    _checked(_libc.umount2(b".", MNT_DETACH), "umount of the old root")
    os.chdir("/")


def prctl(option: int, *arguments: int) -> int:
    """prctl(2) with up to four integers."""
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(_libc.prctl(option, *padded), f"prctl {option}")


def prctl_pointer(option: int, value: int, pointer: ctypes._Pointer[ctypes.Structure] | ctypes.Structure) -> int:
    """prctl(2) whose third argument is a structure."""
    return _checked(
        _libc.prctl(option, ctypes.c_ulong(value), ctypes.byref(pointer), ctypes.c_ulong(0), ctypes.c_ulong(0)),
        f"prctl {option}",
    )


def act_on_files_as(uid: int, gid: int) -> None:
    """Be `uid` and `gid` towards file systems only, and keep every permitted capability effective all the same.

    A file system mounted in a user namespace takes no inode of an id that is not mapped there (EOVERFLOW).
    """
    _libc.setfsgid(ctypes.c_uint(gid))
    _libc.setfsuid(ctypes.c_uint(uid))
    header = ctypes.create_string_buffer(struct.pack("Ii", 0x20080522, 0), 8)
    data = ctypes.create_string_buffer(24)
    _checked(_libc.capget(header, data), "capget")
    _, low, inheritable_low, _, high, inheritable_high = struct.unpack("6I", data.raw)
    capset(header.raw, struct.pack("6I", low, low, inheritable_low, high, high, inheritable_high))


def capset(header: bytes, data: bytes) -> None:
    """capset(2) with packed structures."""
    _checked(_libc.capset(header, data), "capset")
