"""Writing labs and looking at the machine: lint, labs, new, schema, doctor, completion."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trenza.cli.arguments import add_format, add_lab_file
from trenza.cli.speech import language, note, put, put_json, table, tr
from trenza.client.labfiles import LabFile, check_name, get_lab_file, shipped_labs
from trenza.errors import LabFileError, MachineError, Problem, Severity, UsageError

if TYPE_CHECKING:
    from trenza.model.lab import Lab
    from trenza.spec import Choices

BEGINNING = """\
# {name}: two hosts on a LAN. `trenza up` here brings it up; `trenza schema` is for your editor.
lab: {name}
title: {{en: Two hosts on a LAN, es: Dos hosts en una LAN}}
switches:
  lan: {{}}
hosts:
  h1: {{nics: {{eth0: {{to: lan, ip: 10.0.0.1/24}}}}}}
  h2: {{nics: {{eth0: {{to: lan, ip: 10.0.0.2/24}}}}}}
"""


# ---------------------------------------------------------------- lint
def configure_lint(parser: argparse.ArgumentParser) -> None:
    add_lab_file(parser)
    parser.add_argument("--strict", action="store_true", help="fail on warnings too")
    parser.add_argument("--solve", action="store_true", help="build it, and see that its checks tell right from wrong")
    parser.add_argument("--profile", metavar="P", help="with --solve: a named set of the lab's parameters")
    parser.add_argument("--sample", metavar="N", type=int, help="with --solve: only so many wrong solutions")
    parser.add_argument("--seed", metavar="S", type=int, help="with --sample: which ones")
    add_format(parser)


def run_lint(arguments: argparse.Namespace) -> int:
    """The problems of a lab file in every way of bringing it up: base, checkpoints, variants, profiles, seeds."""
    from trenza.spec import Choices
    from trenza.spec.seeding import limits_of

    lab_file = get_lab_file(arguments.lab)
    if arguments.solve:
        from trenza.cli.solving import run_solve

        return run_solve(
            lab_file, profile=arguments.profile, sample=arguments.sample, seed=arguments.seed, form=arguments.format,
            strict=arguments.strict,
        )  # fmt: skip
    problems: dict[Problem, None] = {}
    full = _problems(lab_file.source, lab_file.shown(), Choices(), problems)
    if full is not None:
        ways = [Choices(start=True)]
        ways += [Choices(until=point.name) for point in full.checkpoints[:-1]]
        ways += [Choices(variants=(variant.name,)) for variant in full.variants]
        ways += [Choices(profile=profile) for profile in full.profiles]
        ways += [Choices(parameters={name: value}) for name, value in limits_of(full.seeded)]
        for way in ways:
            errors_only: dict[Problem, None] = {}
            _problems(lab_file.source, lab_file.shown(), way, errors_only)
            problems.update({one: None for one in errors_only if one.severity is Severity.ERROR})
        problems.update(dict.fromkeys(_misread(full, lab_file)))
        problems.update(dict.fromkeys(_of_files(full, lab_file)))
    found = sorted(problems, key=lambda one: (one.line, one.column))
    if arguments.format == "json":
        put_json("lint", {"problems": [{name: getattr(one, name) for name in Problem.__slots__} for one in found]})
    else:
        for one in found:
            note(str(one))
        if not found:
            put(tr(f"{lab_file.shown()}: no problems", f"{lab_file.shown()}: sin problemas"))
    severities = {one.severity for one in found}
    if Severity.ERROR in severities:
        return 2
    return 1 if arguments.strict and Severity.WARNING in severities else 0


def _problems(source: bytes, file: str, choices: Choices, problems: dict[Problem, None]) -> Lab | None:
    """Adds a reading's problems; the lab, unless it cannot be read."""
    from trenza.spec import read

    try:
        reading = read(source, file, choices, language())
    except LabFileError as error:
        problems.update(dict.fromkeys(error.problems))
        return None
    problems.update(dict.fromkeys(reading.problems))
    return reading.lab


MISREAD = "E080"
"""A check says something in words of another command (a capture filter, a fault, a probe) that mean nothing there."""


def _misread(lab: Lab, lab_file: LabFile) -> Iterator[Problem]:
    """What only tcpdump, and the words of faults and probes, know of a lab's checks."""
    from trenza.check.phrases import Misread, filters, misread
    from trenza.check.telling import title_of
    from trenza.linux.capture_filter import compiled
    from trenza.plan.wanted import wanted_state

    sources = {file.source for node in lab.nodes for file in node.files if file.source is not None}
    reference = wanted_state(lab, dict.fromkeys(sources, b""))  # what files hold says nothing about names
    found = list(misread(lab, reference))
    try:
        for check, expression in filters(lab):
            try:
                compiled(expression)
            except UsageError as error:
                found.append(Misread(check, expression, error))
    except MachineError as error:
        note(error.message)
    lines = lab_file.source.decode(errors="replace").splitlines()
    for one in found:
        line = next((number for number, text in enumerate(lines, 1) if one.phrase in text), 1)
        column = max(lines[line - 1].find(one.phrase), 0) + 1
        yield Problem(
            Severity.ERROR, MISREAD, f"{title_of(one.check).in_language(language())}: {one.error.message}",
            lab_file.shown(), line, column, length=len(one.phrase), excerpt=lines[line - 1], hint=one.error.hint,
        )  # fmt: skip


OF_FILE = "E081"
"""A file that the lab takes from its directory is not there, or is a manifest with objects that no cluster takes."""


def _of_files(lab: Lab, lab_file: LabFile) -> Iterator[Problem]:
    """What is wrong with the files that a lab takes from its directory."""
    from trenza.keeper.manifests import problems_of
    from trenza.model.cluster import MANIFESTS

    lines = lab_file.source.decode(errors="replace").splitlines()
    files = {file.source: file for node in lab.nodes for file in node.files if file.source is not None}
    for source, file in files.items():
        try:
            data = (Path(lab_file.directory) / source).read_bytes()
            wrong = problems_of(data) if file.path.startswith(f"{MANIFESTS}/") else []
        except OSError as error:
            wrong = [error.strerror or str(error)]
        line = next((number for number, text in enumerate(lines, 1) if source in text), 1)
        column = max(lines[line - 1].find(source), 0) + 1
        for text in wrong:
            yield Problem(
                Severity.ERROR, OF_FILE, f"{source}: {text}", lab_file.shown(), line, column, length=len(source),
                excerpt=lines[line - 1],
            )  # fmt: skip


# ---------------------------------------------------------------- labs, new, schema
def configure_labs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--directory", metavar="LAB", help="only where a lab lies, and what comes with it", choices=[*shipped_labs()]
    )
    add_format(parser)


def run_labs(arguments: argparse.Namespace) -> int:
    from trenza.spec import read

    if arguments.directory is not None:
        put(str(shipped_labs()[arguments.directory].parent))
        return 0
    rows: list[dict[str, Any]] = []
    for name, path in shipped_labs().items():
        lab = read(path.read_bytes(), str(path)).lab
        rows.append(
            {
                "name": name,
                "title": dict(lab.title),
                "points": sum(point.points for point in lab.checkpoints),
                "checkpoints": [point.name for point in lab.checkpoints],
                "file": str(path),
            }
        )
    if arguments.format == "json":
        put_json("shipped-labs", {"labs": rows})
        return 0
    cells = [
        [row["name"], row["title"].get(language()) or row["title"].get("en"), ", ".join(row["checkpoints"])]
        for row in rows
    ]
    put(table(["LAB", tr("TITLE", "TÍTULO"), "CHECKPOINTS"], cells))
    put(tr("\n`trenza up LAB` is the solution, `trenza up LAB --start` what the sheet gives.",
           "\n`trenza up LAB` es la solución, `trenza up LAB --start` lo que da la hoja."))  # fmt: skip
    return 0


def configure_new(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="the lab's name (default: this directory's)")


def run_new(arguments: argparse.Namespace) -> int:
    name = check_name(arguments.name or Path.cwd().name)
    path = Path("lab.yaml") if arguments.name is None else Path(name) / "lab.yaml"
    if path.exists():
        raise UsageError(tr(f"{path} is already there", f"{path} ya existe"))
    path.parent.mkdir(exist_ok=True)
    path.write_text(BEGINNING.format(name=name))
    put(tr(f"wrote {path}; now: trenza up {path}", f"escrito {path}; ahora: trenza up {path}"))
    return 0


def configure_schema(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="KIND", nargs="?", default="lab", help="lab (the file), or a kind of -f json")


def run_schema(arguments: argparse.Namespace) -> int:
    import json

    from trenza.cli.schemas import SCHEMAS
    from trenza.engine import suggestions

    if arguments.kind == "lab":
        from trenza.spec import schema

        print(json.dumps(schema(), indent=2, ensure_ascii=False))
        return 0
    if arguments.kind not in SCHEMAS:
        kinds = ["lab", *SCHEMAS]
        raise UsageError(f"no schema {arguments.kind!r}", hint=suggestions.suggest(arguments.kind, kinds, kinds))
    print(json.dumps(SCHEMAS[arguments.kind], indent=2, ensure_ascii=False))
    return 0


# ---------------------------------------------------------------- doctor
def configure_doctor(parser: argparse.ArgumentParser) -> None:
    add_format(parser)


def run_doctor(arguments: argparse.Namespace) -> int:
    from trenza.linux.doctor import Level, diagnose, report
    from trenza.linux.doctor.probe import MachineProbe

    findings = diagnose(MachineProbe())
    if arguments.format == "json":
        put_json("doctor", {"findings": [
            {"code": one.code, "level": one.level.value, "message": one.sentence(language()), "cure": list(one.cure)}
            for one in findings
        ]})  # fmt: skip
    else:
        for line in report(findings, language()):
            put(line)
    return 3 if any(one.level is Level.MISSING for one in findings) else 0


# ---------------------------------------------------------------- completion
def configure_completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=["bash", "zsh", "fish"], help="for bash: source <(trenza completion bash)")


def run_completion(arguments: argparse.Namespace) -> int:
    """Print the shell's code; e.g. `trenza completion bash > ~/.local/share/bash-completion/completions/trenza`."""
    from argcomplete.shell_integration import shellcode

    sys.stdout.write(shellcode(["trenza"], shell=arguments.shell))
    return 0
