"""`lint --solve`: a lab tests itself; what came of it, for people and programs."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from trenza.cli.speech import language, note, put, put_json, table, tr
from trenza.client.labfiles import LabFile
from trenza.client.session import solve

Data = Mapping[str, Any]


def run_solve(
    lab_file: LabFile, *, profile: str | None, sample: int | None, seed: int | None, form: str, strict: bool
) -> int:
    """Try the lab out in a sandbox of its own; 1 if it is not what it should be. A needless entry is a warning."""
    request = {
        "source": base64.b64encode(lab_file.source).decode(),
        "file": lab_file.file,
        "shown": lab_file.shown(),
        "directory": lab_file.directory,
        "profile": profile,
        "language": language(),
        "sample": sample,
        "seed": seed,
    }
    progress = _Progress()
    try:
        result = solve(lab_file.find_name() or "lab", request, lab_file.directory, progress)
    finally:
        progress.end()
    if form == "json":
        put_json("solve", {**result})
    else:
        for line in _lines(result):
            put(line)
        for pattern in result["unused"]:
            note(tr(f"equivalent: {pattern!r} means no mutant", f"equivalent: {pattern!r} no es ningún mutante"))
    return 0 if result["passed"] and not (strict and result["unused"]) else 1


class _Progress:
    """What is being tried, for whoever watches a terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __call__(self, message: Data) -> None:
        progress = message.get("progress")
        if progress and self._shown:
            counted = f"{progress['number']}/{progress['of']} " if progress["of"] else ""
            sys.stderr.write(f"\r\x1b[K{counted}{progress['doing']}"[:200])
            sys.stderr.flush()

    def end(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _lines(result: Data) -> Iterator[str]:
    mutants, whole = result["mutants"], result["whole"]
    yield table(
        ["", tr("RESULT", "RESULTADO"), tr("SHOULD BE", "DEBERÍA SER")],
        [
            *_rows(tr("base", "base"), result["base"], "right", lambda one: "0"),
            *_rows(tr("with its adds", "con sus adds"), result["checkpoints"], "passed", _all_of),
            [_sign(whole["passed"]) + tr(" whole", " completo"), _g(whole["points"]), _all_of(whole)],
            [_sign(not mutants["survived"]) + tr(" mutants", " mutantes"), _counted(mutants), ""],
        ],
    )  # fmt: skip
    for one in result["base"]:
        if not one["right"]:
            true = "; ".join(one["true"])
            yield tr(
                f"{one['name']} earns something from the start: {true}",
                f"{one['name']} puntúa desde el principio: {true}",
            )
            yield tr(
                "  give these weight: 0 and required: true, or ask for something that is not there yet",
                "  deles weight: 0 y required: true, o pregunte por algo que aún no esté",
            )
    for one in result["checkpoints"]:
        if not one["passed"]:
            yield tr(
                f"{one['name']} does not pass with its adds: {one['because']}",
                f"{one['name']} no se supera con sus adds: {one['because']}",
            )
    if not whole["passed"]:
        yield tr(
            f"the whole solution does not pass: {whole['because']}",
            f"la solución completa no se supera: {whole['because']}",
        )
    for one in mutants["survived"]:
        yield tr(f"no check sees: {one['name']}", f"ninguna comprobación ve: {one['name']}")
        yield "  " + tr("theory", "la teoría") + f": {one['theory']}"
    if mutants["survived"]:
        name = mutants["survived"][0]["name"]
        yield tr(
            "add a check that fails then, or list it with the reason:",
            "añada una comprobación que falle entonces, o apúntelo con el motivo:",
        )
        yield f'  equivalent: {{"{name}": {tr("why it is right", "por qué es correcto")}}}'


def _rows(what: str, found: list[Data], right: str, wanted: Any) -> Iterator[list[str]]:
    for one in found:
        yield [f"{_sign(one[right])} {one['name']} ({what})", _g(one["points"]), wanted(one)]


def _counted(mutants: Data) -> str:
    counts = [
        (len(mutants["killed"]), tr("lose points", "pierden puntos")),
        (len(mutants["equal"]), tr("are right by theory", "son correctos según la teoría")),
        (len(mutants["listed"]), tr("are listed", "están apuntados")),
        (len(mutants["survived"]), tr("are not seen", "no se ven")),
        (mutants["left_out"], tr("were left out", "se dejaron fuera")),
    ]
    return ", ".join(f"{count} {words}" for count, words in counts if count) or "0"


def _all_of(one: Data) -> str:
    return _g(one["max_points"])


def _sign(right: bool) -> str:
    return "✔" if right else "✘"


def _g(points: float) -> str:
    return f"{points:g}"
