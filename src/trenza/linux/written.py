"""What people changed in the files of nodes: the upper layers of their overlays, less what trenza and daemons write.

Regular files only, in nodes that run and in those that are stopped, found without following a link that a node's owner
made. /run, /proc, /sys, /dev and /usr are no part of an upper layer.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from trenza.linux import beneath
from trenza.linux.template import NODES, SKELETON
from trenza.model.names import NodeName

VOLATILE = (
    "/dev", "/proc", "/run", "/sys", "/usr", "/var/cache", "/var/lib/etcd", "/var/lib/kubelet", "/var/lib/misc",
    "/var/lib/trenza", "/var/lock", "/var/log", "/var/run", "/var/spool", "/var/tmp",
)  # fmt: skip
MAX_FILE_BYTES = 1 << 20
MAX_BYTES = 16 << 20
MAX_FILES = 2000
MAX_LOOKED_AT = 100_000
MAX_DEPTH = 40
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file as a node has it; `owner` is `root` or the number of an account."""

    node: NodeName
    path: str
    content: bytes
    mode: int
    owner: str


@dataclass(slots=True)
class Written:
    """The files that were found, and in words those that were not taken."""

    files: list[WrittenFile] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    total_bytes: int = 0
    looked_at: int = 0


def written_files(nodes: Collection[NodeName], first_id: int) -> Written:
    """What nodes wrote. `first_id` is their root as an id of the sandbox."""
    written = Written()
    with beneath.root_of(1) as root:  # the sandbox's own, which this process does not share
        skeleton = beneath.open_in_root(root, SKELETON, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for node in sorted(nodes):
                try:
                    place = f"{NODES}/{node.replace('/', '+')}/upper"
                    upper = beneath.open_in_root(root, place, os.O_RDONLY | os.O_DIRECTORY)
                except FileNotFoundError:
                    continue  # it was never started, or an uplink, which has no files
                _Walk(node, skeleton, first_id, written).directory(upper, "", 0)
        finally:
            os.close(skeleton)
    return written


@dataclass(frozen=True, slots=True)
class _Walk:
    node: NodeName
    skeleton: int
    first_id: int
    written: Written

    def directory(self, descriptor: int, path: str, depth: int) -> None:
        """Look through a directory, and close it."""
        try:
            for name in sorted(_names(descriptor)):
                self.entry(descriptor, name, f"{path}/{name}", depth)
        finally:
            os.close(descriptor)

    def entry(self, parent: int, name: str, path: str, depth: int) -> None:
        if path in VOLATILE or self.written.looked_at > MAX_LOOKED_AT:
            return
        self.written.looked_at += 1
        if self.written.looked_at > MAX_LOOKED_AT:
            self.left_out(path, f"and all after it: more than {MAX_LOOKED_AT} files and directories")
            return
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                if depth < MAX_DEPTH:
                    self.directory(os.open(name, _DIRECTORY, dir_fd=parent), path, depth + 1)
                else:
                    self.left_out(path, "too deep")
            elif stat.S_ISREG(status.st_mode):
                self.file(parent, name, path, status)
        except OSError as error:
            if error.errno != errno.ENOENT:
                self.left_out(path, str(error.strerror))

    def file(self, parent: int, name: str, path: str, status: os.stat_result) -> None:
        if not path.isprintable() or len(path.encode(errors="replace")) > 200:
            self.left_out(ascii(path), "its name")
        elif status.st_size > MAX_FILE_BYTES:
            self.left_out(path, f"larger than {MAX_FILE_BYTES >> 10} KiB")
        elif self.written.total_bytes + status.st_size > MAX_BYTES:
            self.left_out(path, f"all files together are larger than {MAX_BYTES >> 20} MiB")
        elif len(self.written.files) >= MAX_FILES:
            self.left_out(path, f"more than {MAX_FILES} files")
        else:
            with os.fdopen(os.open(name, _FILE, dir_fd=parent), "rb") as file:
                content = file.read(MAX_FILE_BYTES)
            given = beneath.read_file(self.skeleton, path, limit_bytes=MAX_FILE_BYTES)
            if given is not None and given[0] == content and given[1].st_mode == status.st_mode:
                return
            self.written.total_bytes += len(content)
            number = status.st_uid - self.first_id
            owner = str(number) if 0 < number < 65536 else "root"
            self.written.files.append(WrittenFile(self.node, path, content, stat.S_IMODE(status.st_mode), owner))

    def left_out(self, path: str, why: str) -> None:
        if len(self.written.left_out) < 100:
            self.written.left_out.append(f"{self.node}:{path}: {why}")


def _names(directory: int) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            yield entry.name
