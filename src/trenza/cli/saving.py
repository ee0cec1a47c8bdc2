"""Saving a lab: as an archive that can be brought up again, or as a lab file; and bringing an archive up."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from trenza.cli.arguments import add_format, add_running_lab
from trenza.cli.speech import language, note, put, put_json, tr
from trenza.client.labfiles import is_archive
from trenza.client.session import ask, down, get_running, running_labs
from trenza.errors import UsageError

if TYPE_CHECKING:
    from trenza.client.replay import ReplayOutcome, Unlike

_SHOWN = 20
_SHOWN_CHARACTERS = 100
_WHY = {
    "an editor: its files were saved": "un editor: sus ficheros están guardados",
    "it waits for a reader": "espera a quien lea",
    "it ends only when interrupted": "solo acaba al interrumpirla",
    "it was interrupted": "se interrumpió",
    "it was too long to be kept whole": "era demasiado larga para guardarla entera",
    "it leaves its shell": "deja su shell",
    "there was no time left": "no quedaba tiempo",
    "it healed by itself before the lab was saved": "se curó sola antes de guardarse el laboratorio",
}
"""Why a line was not done again, in Spanish."""


# ---------------------------------------------------------------- save
def configure_save(parser: argparse.ArgumentParser) -> None:
    add_running_lab(parser, "the lab to save, where several run")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-o", "--output", metavar="FILE", help="the archive to write (default: NAME.trenza here)")
    what.add_argument(
        "--as", metavar="LAB.yaml", dest="lab_file", help="write what is there now as a lab file instead; - prints it"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="overwrite whatever has that name")
    add_format(parser)


def run_save(arguments: argparse.Namespace) -> int:
    name = get_running(arguments.lab)
    if arguments.lab_file is not None:
        return _save_lab_file(arguments, name)
    from trenza.client.archive import write_archive
    from trenza.client.saving import saved_lab

    path = Path(arguments.output or f"{name}.trenza")
    if path.exists() and not is_archive(path):
        _require_yes(arguments, path)
    saved = saved_lab(name)
    write_archive(saved, path)
    left_out = saved.manifest.left_out
    counts = {"commands": len(saved.commands), "files": len(saved.files), "things": len(saved.state)}
    if arguments.format == "json":
        put_json("save", {"lab": name, "file": str(path), **counts, "left_out": list(left_out)})
        return 0
    for line in left_out:
        note(tr(f"not saved: {line}", f"sin guardar: {line}"))
    put(
        tr(
            f"{name} is saved in {path}: {len(saved.commands)} commands, {len(saved.files)} files",
            f"{name} guardado en {path}: {len(saved.commands)} órdenes, {len(saved.files)} ficheros",
        )
    )
    put(f"  trenza up {path}   " + tr("build it again", "volver a construirlo"))
    return 0


def _save_lab_file(arguments: argparse.Namespace, name: str) -> int:
    """Write the observed state as a lab file; what that cannot say goes to stderr and into a comment."""
    path = Path(arguments.lab_file)
    prints = arguments.lab_file == "-"
    if path.exists() and not prints:
        _require_yes(arguments, path)
    export = ask(name, {"verb": "export", "language": language()})
    if prints:
        sys.stdout.write(export["text"])
    else:
        try:
            path.write_text(export["text"])
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from error
    if arguments.format == "json" and not prints:
        put_json("export", {"lab": name, "file": str(path), "left_out": export["left_out"]})
        return 0
    if export["left_out"]:
        note(
            tr(
                "no lab file can say this, so it is not in it (- missing there, ~ other there):",
                "ningún fichero de laboratorio puede decir esto; no está en él (- falta allí, ~ distinto allí):",
            )
        )
        note("\n".join(f"  {line}" for line in export["left_out"]))
    if not prints:
        put(tr(f"{name} as it is now: {path}", f"{name} tal como está: {path}"))
    return 0


def _require_yes(arguments: argparse.Namespace, path: Path) -> None:
    if not arguments.yes:
        raise UsageError(
            tr(f"{path} is already there", f"{path} ya existe"),
            hint=tr("add --yes to overwrite it", "añada --yes para sobrescribirlo"),
        )


# ---------------------------------------------------------------- up FILE.trenza
def up_saved(arguments: argparse.Namespace, path: Path, nat: list[str]) -> int:
    """Build a saved lab again and say whether it came to the same; 0 if so, 1 naming what differs."""
    from trenza.cli.lifecycle import Progress, confirmed_reset
    from trenza.client.archive import read_archive
    from trenza.client.replay import replay

    chosen = {"--start": arguments.start, "--full": arguments.full, "--until": arguments.until, "--set": arguments.set,
              "--profile": arguments.profile, "--with": arguments.variants, "--dry-run": arguments.dry_run,
              "--wait": arguments.wait}  # fmt: skip
    if given := [option for option, value in chosen.items() if value]:
        raise UsageError(
            tr(
                f"{path} says itself how it was started: {', '.join(given)} is not for archives",
                f"{path} ya dice cómo se inició: {', '.join(given)} no vale para archivos",
            )
        )
    saved = read_archive(path)
    name = arguments.name or saved.manifest.lab
    if arguments.reset and name in running_labs():
        if not arguments.yes and not confirmed_reset(name):
            return 1
        down(name)
    progress = Progress()
    try:
        outcome = replay(saved, name=name, file=str(path.resolve()), nat=nat, language=language(), listener=progress)
    finally:
        progress.end()
    if arguments.format == "json":
        fields = {key: value for key, value in asdict(outcome).items() if key != "report"}
        put_json("replay", {**fields, "same": outcome.same, "seconds": round(outcome.seconds, 3)})
    else:
        _say(path, outcome)
    return 0 if outcome.same else 1


def _say(path: Path, outcome: ReplayOutcome) -> None:
    put(
        tr(
            f"{outcome.name} is built again in {outcome.seconds:.2f} s: {outcome.commands} commands, "
            f"{outcome.files} files",
            f"{outcome.name} construido de nuevo en {outcome.seconds:.2f} s: {outcome.commands} órdenes, "
            f"{outcome.files} ficheros",
        )
    )
    _say_unlike(tr("not done again:", "no repetido:"), outcome.skipped)
    _say_unlike(
        tr("ended otherwise than when it was saved:", "acabó de otro modo que al guardarlo:"), outcome.other_status
    )
    if outcome.same:
        put(tr("  the same as when it was saved", "  igual que cuando se guardó"))
        return
    put(
        tr(
            f"  other than {path} says (- missing now, + only now, ~ saved → now):",
            f"  distinto de lo que dice {path} (- falta ahora, + solo ahora, ~ guardado → ahora):",
        )
    )
    for line in outcome.differences:
        put(f"    {line}")


def _say_unlike(title: str, commands: tuple[Unlike, ...]) -> None:
    if commands:
        put(f"  {title}")
    for one in commands[:_SHOWN]:
        first, *more = one.line.splitlines() or [""]
        line = first[:_SHOWN_CHARACTERS] + (" …" if more or len(first) > _SHOWN_CHARACTERS else "")
        put(f"    {one.node}: {line} ({tr(one.why, _WHY.get(one.why, one.why))})")
    if len(commands) > _SHOWN:
        put(f"    … {len(commands) - _SHOWN} " + tr("more", "más"))
