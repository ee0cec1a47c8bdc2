"""inotify tells what happens in a directory, whatever the directory is called meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

from trenza.linux.inotify import IN_CREATE, IN_DELETE, IN_IGNORED, IN_MODIFY, IN_ONLYDIR, Inotify


def test_what_happens_in_a_directory_is_told_by_name(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    inotify = Inotify()
    try:
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        watch = inotify.watch(directory, IN_CREATE | IN_MODIFY | IN_DELETE | IN_ONLYDIR)
        os.close(directory)
        assert inotify.read() == []
        place = place.rename(tmp_path / "elsewhere")
        (place / "a name").write_text("x")
        (place / "a name").unlink()
        seen = inotify.read()
        assert {one.watch for one in seen} == {watch}
        assert {one.name for one in seen} == {"a name"}
        assert [one.mask for one in seen] == [IN_CREATE, IN_MODIFY, IN_DELETE]
        place.rmdir()
        assert [one.mask for one in inotify.read()] == [IN_IGNORED]
    finally:
        inotify.close()


def test_a_directory_that_is_watched_twice_is_watched_once(tmp_path: Path) -> None:
    inotify = Inotify()
    try:
        directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
        assert inotify.watch(directory, IN_CREATE) == inotify.watch(directory, IN_CREATE)
        inotify.forget(inotify.watch(directory, IN_CREATE))
        os.close(directory)
        (tmp_path / "new").touch()
        assert [one.mask for one in inotify.read()] == [IN_IGNORED]
    finally:
        inotify.close()
