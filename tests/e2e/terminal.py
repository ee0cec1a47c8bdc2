"""A person at a terminal: a real pty with a program on its other side."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from types import TracebackType
from typing import Self

from conftest import Cli


class Terminal:
    """Runs `trenza` in a terminal of its own; as a context manager it is closed at the end."""

    def __init__(self, cli: Cli, *words: str, rows: int = 24, columns: int = 80) -> None:
        self._master, slave = os.openpty()
        self.resize(rows, columns)
        # setsid makes the pty the program's controlling terminal, so that closing it hangs the program up.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", cli.program, *words],
            stdin=slave, stdout=slave, stderr=slave, env={**cli.environment, "TERM": "xterm"}, cwd=cli.directory,
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def types(self, text: str) -> None:
        os.write(self._master, text.encode())

    def expect(self, pattern: str, deadline_s: float = 10.0) -> str:
        """Read until the pattern is seen; what came up to its end, which later calls do not see again."""
        end = time.monotonic() + deadline_s
        while (match := re.search(pattern, self.seen)) is None:
            left = end - time.monotonic()
            assert left > 0, f"{pattern!r} is not in {self.seen[-1000:]!r}"
            if select.select([self._master], [], [], left)[0]:
                try:
                    self.seen += os.read(self._master, 1 << 16).decode(errors="replace")
                except OSError as error:  # EIO: nobody is left on the other side
                    raise AssertionError(f"{pattern!r} is not in {self.seen[-1000:]!r}") from error
        before, self.seen = self.seen[: match.end()], self.seen[match.end() :]
        return before

    def close(self) -> None:
        """As a person closes the window."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
