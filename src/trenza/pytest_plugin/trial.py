"""One test and its labs: brought up, broken, captured from, mended; and what is told of them if the test fails."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

from trenza.errors import TrenzaError
from trenza.pytest_plugin.capture import Capture
from trenza.pytest_plugin.finding import printable
from trenza.pytest_plugin.lab import Lab
from trenza.pytest_plugin.shelf import Shelf
from trenza.pytest_plugin.telling import journal_lines, wrong_lines
from trenza.pytest_plugin.wish import Wish, read_wish

MAX_FILE_NAME = 150


class Trial:
    """A test that uses labs."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._labs: list[Lab] = []
        self._captures: list[Capture] = []
        self._began_s = time.time()

    def wish(self, arguments: Sequence[Any], options: Mapping[str, Any]) -> Wish:
        """What is asked for, by the arguments of a marker or of `lab_up`."""
        try:
            return read_wish(self._item.path.parent, *arguments, **options)
        except TrenzaError as error:
            self._refuse(error)

    @contextmanager
    def using(self, shelf: Shelf, wish: Wish) -> Iterator[Lab]:
        """The lab of a wish, mended at the end; frames are captured from the places that it names.

        What is wrong with it is an error of the test; what the machine lacks may skip it, if whoever runs it said so.
        """
        with ExitStack() as ends:
            try:
                running = shelf.lab(wish, self._item.name, allow_nat=self._item.config.getoption("--lab-allow-nat"))
                lab = Lab(running, self._skip_what_is_missing)
                self._labs.append(lab)
                if wish.scope != "function":  # any other ends with its faults
                    ends.callback(lab.running.heal)
                if wish.capture:
                    capture = Capture(lab.name, wish.capture, wish.filter, self._file())
                    self._captures.append(capture)
                    ends.callback(capture.discard)
            except TrenzaError as error:
                self._refuse(error)
            yield lab

    def broken(self, lab: Lab, words: str, **options: str) -> None:
        """Break something until the end of the test."""
        try:
            lab.running.fault(words, **options)
        except TrenzaError as error:
            self._refuse(error)

    def _refuse(self, error: TrenzaError) -> NoReturn:
        self._skip_what_is_missing(error)
        raise pytest.fail.Exception(printable(str(error)), pytrace=False) from None

    def _skip_what_is_missing(self, error: TrenzaError) -> None:
        if error.code == "machine" and self._item.config.getoption("--lab-skip-missing"):
            pytest.skip(f"this machine lacks: {error.message}")

    def _file(self) -> Path:
        """Where this test's frames go: a name for each test and lab, readable, and short enough for a file."""
        config = self._item.config
        given = config.getoption("--lab-artifacts")
        directory = config.rootpath / ".pytest_lab" if given is None else config.invocation_params.dir / given
        name = re.sub(r"[^\w.\[\]-]+", "-", self._item.nodeid, flags=re.ASCII).strip("-")[-MAX_FILE_NAME:]
        number = f"-{len(self._captures) + 1}" if self._captures else ""
        return directory / f"{name}{number}.pcapng"

    # ------------------------------------------------------------------ telling
    def sections(self) -> Iterator[tuple[str, str]]:
        """Titles and texts for the report of a failure; to be asked while the labs are up."""
        for lab in self._labs:
            for title, lines in (("journal", self._journal), ("what is wrong", wrong_lines)):
                yield from _section(f"lab {lab.name}: {title}", partial(_joined, lines, lab))
        for capture in self._captures:
            yield from _section("lab captures", capture.keep)

    def _journal(self, lab: Lab) -> list[str]:
        """Of a lab that other tests used before, what happened in this one."""
        return journal_lines(lab.events(), self._began_s)


def _section(title: str, text_of: Callable[[], str]) -> Iterator[tuple[str, str]]:
    """A section, unless it is empty; the lab itself may be what failed, and then that is its text."""
    try:
        text = text_of()
    except (TrenzaError, OSError) as error:
        text = str(error)
    if text:
        yield title, printable(text)


def _joined(lines_of: Callable[[Lab], Iterable[str]], lab: Lab) -> str:
    return "\n".join(lines_of(lab))
