"""Every code block of the pages does what the page says: lab files are read, commands and Python are run.

A page is run from top to bottom as an ordinary user, in an empty directory with no lab running. A yaml or python block
whose first line is `# NAME.yaml` or `# NAME.py` is written there under that name. What cannot be run says so by its
language, `text`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from trenza.spec import read

from .markdown import Block, blocks, commands, matches

ROOT = Path(__file__).parents[2]
AsUser = Callable[[Sequence[str]], CompletedProcess[str]]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks(page)]
LANGUAGES = {"yaml", "console", "python", "mermaid", "text"}
PROGRAMS = f"{ROOT / '.venv/bin'}:{ROOT / '.cache/kubectl/1.20'}"
"""Where a reader finds `trenza`, and Debian 12's kubectl."""
RUNNABLE = [page for page in PAGES if any(block.language in ("console", "python") for block in blocks(page))]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_has_a_language_that_says_what_becomes_of_it(block: Block) -> None:
    assert block.language in LANGUAGES


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "yaml"], ids=str)
def test_every_lab_file_shown_is_one(block: Block) -> None:
    read(block.text.encode(), str(block))


def test_the_readme_fits_a_screen() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 60


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


class Reader:
    """Somebody who types a page into a shell, in a directory and with trenza directories of their own."""

    def __init__(self, as_user: AsUser) -> None:
        self._as_user = as_user
        # Short, because a unix socket's path may have 108 bytes (unix(7)).
        self._home = as_user(["mktemp", "-d", "/tmp/trenza-page.XXXXXX"]).stdout.strip()

    def types(self, text: str) -> CompletedProcess[str]:
        prelude = (
            f"cd {self._home} && mkdir -m 700 -p run here && cd here && "
            f"export HOME={self._home} XDG_RUNTIME_DIR={self._home}/run LANG=C.UTF-8 "
            f"PATH={shlex.quote(PROGRAMS)}:$PATH"
        )
        return self._as_user(["bash", "-c", f"{prelude}\n{text}"])

    def writes(self, name: str, text: str) -> None:
        assert self.types(f"cat > {shlex.quote(name)} <<'THE-END'\n{text}THE-END").returncode == 0

    def leaves(self) -> None:
        self.types("trenza wipe --yes")
        self._as_user(["rm", "-rf", self._home])


@pytest.fixture
def reader(as_user: AsUser) -> Iterator[Reader]:
    somebody = Reader(as_user)
    yield somebody
    somebody.leaves()


@pytest.mark.kernel
@pytest.mark.side_by_side
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_a_page_can_be_typed_from_top_to_bottom(page: Path, reader: Reader) -> None:
    for block in blocks(page):
        match block.language:
            case "yaml" | "python" if named := re.match(r"# ([\w.-]+\.(yaml|py))\n", block.text):
                reader.writes(named[1], block.text)
            case "console":
                for command in commands(block):
                    done = reader.types(command.text)
                    where = f"{page.name}:{command.line}: {command.text}"
                    assert done.returncode == command.status, f"{where}\n{done.stdout}{done.stderr}"
                    assert command.shown is None or matches(command.shown, done.stdout), f"{where}\n{done.stdout}"
            case "python":
                done = reader.types(f"python - <<'THE-END'\n{block.text}THE-END")
                assert done.returncode == 0, f"{block}\n{done.stderr}"
            case _:
                pass
    left = reader.types("trenza ls").stdout
    assert "no lab is running" in left, f"{page.name} leaves labs running:\n{left}"
