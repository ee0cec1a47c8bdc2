"""inotify(7): being told of changes below a directory, or of a file, instead of looking again and again."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from typing import Final

IN_MODIFY: Final = 0x002
IN_MOVED_TO: Final = 0x080
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ONLYDIR: Final = 0x01000000
IN_ISDIR: Final = 0x40000000

_EVENT = struct.Struct("iIII")
_READ_BYTES: Final = 1 << 16
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Seen:
    """Something happened: to the file that `watch` names, or to the one called `name` in that directory."""

    watch: int
    mask: int
    name: str


class Inotify:
    """A descriptor that is readable when something that is watched changed. It keeps no file system mounted."""

    def __init__(self) -> None:
        self._descriptor = _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))

    def fileno(self) -> int:
        return self._descriptor

    def watch(self, descriptor: int, mask: int) -> int:
        """Watch an open file or directory, whatever its name is now; the watch outlives the descriptor."""
        path = os.fsencode(f"/proc/self/fd/{descriptor}")
        return _checked(_libc.inotify_add_watch(self._descriptor, path, ctypes.c_uint32(mask)))

    def forget(self, watch: int) -> None:
        """Watch it no more."""
        _libc.inotify_rm_watch(self._descriptor, watch)

    def read(self) -> list[Seen]:
        """What happened since the last time; empty if nothing did."""
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return []
        found, offset = [], 0
        while offset < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            name = data[offset : offset + length].rstrip(b"\0")
            found.append(Seen(watch, mask, os.fsdecode(name)))
            offset += length
        return found

    def close(self) -> None:
        os.close(self._descriptor)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)
