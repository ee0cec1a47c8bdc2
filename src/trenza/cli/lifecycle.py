"""Labs as wholes: up, down, ls, plan, wipe."""

from __future__ import annotations

import argparse
import base64
import os
import sys
import time
from pathlib import Path
from typing import Any

from trenza.cli.arguments import add_format, add_lab_file, add_running_lab
from trenza.cli.speech import language, note, put, put_json, table, tr
from trenza.client.labfiles import LabFile, check_name, get_lab_file, is_archive
from trenza.client.session import ask, down, get_running, running_labs, up
from trenza.errors import Problem, Severity, UsageError

_PROGRESS_AFTER_S = 1.0
_COUNTED = {
    "hosts": (("# host", "# hosts"), ("# host", "# hosts")),
    "containers": (("# container", "# containers"), ("# contenedor", "# contenedores")),
    "switches": (("# switch", "# switches"), ("# conmutador", "# conmutadores")),
}
"""How many of each there are: one and several, in English and in Spanish."""


_REACHED = {
    "internet": ("public addresses", "direcciones públicas"),
    "private": ("private networks", "redes privadas"),
    "loopback": ("this machine's localhost at 10.0.2.2", "el localhost de esta máquina en 10.0.2.2"),
}
"""What may be allowed to uplinks, in English and Spanish."""


# ---------------------------------------------------------------- up
def _add_choices(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--start", action="store_true", help="only what the sheet gives; the rest is yours to build")
    how.add_argument("--full", action="store_true", help="the whole solution (how a lab comes up the first time)")
    how.add_argument("--until", metavar="CHECKPOINT", help="the solution up to a checkpoint (name or number)")
    parser.add_argument("--profile", metavar="P", help="a named set of the lab's parameters")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="one parameter")
    parser.add_argument("--student", metavar="NAME", help="whose own values the seeded parameters have; with --seed")
    parser.add_argument("--seed", metavar="SECRET", help="what each student's own values are drawn with")
    parser.add_argument(
        "--with", metavar="VARIANT,…", action="extend", type=names_between_commas, default=[], dest="variants",
        help="variants",
    )  # fmt: skip
    parser.add_argument("--as", metavar="NAME", dest="name", help="run a second copy under another name")


def configure_up(parser: argparse.ArgumentParser) -> None:
    add_lab_file(parser)
    _add_choices(parser)
    parser.add_argument("--wait", action="store_true", help="until every pair that can talk has exchanged a packet")
    parser.add_argument(
        "--allow-nat", action="store_true", help="let `to: nat` reach public addresses and your name server"
    )
    parser.add_argument("--allow-nat-private", action="store_true", help="and private networks too")
    parser.add_argument("--allow-nat-loopback", action="store_true", help="and this machine's localhost, at 10.0.2.2")
    parser.add_argument("--dry-run", action="store_true", help="say what would change, change nothing")
    parser.add_argument("--reset", action="store_true", help="end it and build it anew; asks first")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    add_format(parser)


def run_up(arguments: argparse.Namespace) -> int:
    if arguments.lab is not None and is_archive(Path(arguments.lab)):
        return _up_saved(arguments, arguments.lab)
    if arguments.lab is None and _runs_without_file():
        name = get_running(None)
        if not (arguments.reset or arguments.dry_run or _is_chosen(arguments)):
            return _up_again(arguments, name)
        file = ask(name, {"verb": "started"})["file"]
        if is_archive(Path(file)):
            arguments.name = arguments.name or name
            return _up_saved(arguments, file)
        lab_file = get_lab_file(file)
    else:
        lab_file = get_lab_file(arguments.lab)
        name = check_name(arguments.name) if arguments.name else _name_of(lab_file)
    if arguments.dry_run:
        return _dry_run(arguments, lab_file, name)
    running = name in running_labs()
    request = _request(arguments, lab_file, keep_mode=running)
    if arguments.reset and running:
        if not _is_chosen(arguments):  # begin again, the way it began
            started = ask(name, {"verb": "started"})
            request |= {key: started[key] for key in ("mode", "until", "profile", "parameters", "variants")}
            request["nat"] = sorted({*request["nat"], *started["nat"]})
        _require_readable(lab_file, request)
        if not arguments.yes and not confirmed_reset(name):
            return 1
        down(name)
    began = time.monotonic()
    progress = Progress()
    try:
        result = up(name, request, lab_file.directory, progress)
    finally:
        progress.end()
    return _report_up(arguments, name, result, time.monotonic() - began)


def _up_saved(arguments: argparse.Namespace, file: str) -> int:
    from trenza.cli.saving import up_saved

    return up_saved(arguments, Path(file), _allowed(arguments))


def _require_readable(lab_file: LabFile, request: dict[str, Any]) -> None:
    """Raises LabFileError or UsageError for a file that could not come up, before what runs is given up for it."""
    from trenza.spec import Choices, read

    choices = Choices(
        profile=request["profile"],
        parameters=request["parameters"],
        variants=tuple(request["variants"]),
        until=request["until"],
        start=request["mode"] == "start",
    )
    read(lab_file.source, lab_file.shown(), choices, language())


def _is_chosen(arguments: argparse.Namespace) -> bool:
    """Whether the person said how she wants the lab: which part of it, which profile, parameters or variants."""
    return bool(
        arguments.start or arguments.full or arguments.until or arguments.profile or arguments.set or arguments.variants
        or arguments.student
    )  # fmt: skip


def _runs_without_file() -> bool:
    return not any(os.path.isfile(name) for name in ("lab.yaml", "lab.yml")) and bool(running_labs())


def _up_again(arguments: argparse.Namespace, name: str) -> int:
    began = time.monotonic()
    progress = Progress()
    request = {"verb": "up", "language": language(), "wait": arguments.wait, "nat": _allowed(arguments)}
    try:
        result = ask(name, request, listener=progress)
    finally:
        progress.end()
    return _report_up(arguments, name, result, time.monotonic() - began)


def _name_of(lab_file: LabFile) -> str:
    name = lab_file.find_name()
    if name is None:
        from trenza.spec import read

        name = read(lab_file.source, lab_file.shown(), language=language()).lab.name
    return check_name(name)


def _request(arguments: argparse.Namespace, lab_file: LabFile, *, keep_mode: bool) -> dict[str, Any]:
    """What `up` and `plan` ask; a lab that runs keeps the way it was started unless another is named."""
    mode = "start" if arguments.start else "until" if arguments.until else "full"
    request: dict[str, Any] = {
        "source": base64.b64encode(lab_file.source).decode(),
        "file": lab_file.file,
        "shown": lab_file.shown(),
        "directory": lab_file.directory,
        "mode": mode,
        "until": arguments.until,
        "profile": arguments.profile,
        "parameters": _parameters(arguments, lab_file),
        "variants": arguments.variants,
        "language": language(),
        "wait": getattr(arguments, "wait", False),
        "nat": _allowed(arguments),
    }
    if keep_mode and not _is_chosen(arguments):
        request["keep"] = True
    return request


def _allowed(arguments: argparse.Namespace) -> list[str]:
    """What the uplinks of a lab may reach, in the words of `trenza.linux.uplink_filter`."""
    more = {"private": "allow_nat_private", "loopback": "allow_nat_loopback"}
    grants = [grant for grant, option in more.items() if getattr(arguments, option, False)]
    return ["internet", *grants] if grants or getattr(arguments, "allow_nat", False) else []


def names_between_commas(text: str) -> list[str]:
    """Names, as an option takes several."""
    return [name for name in text.split(",") if name]


def _parameters(arguments: argparse.Namespace, lab_file: LabFile) -> dict[str, str]:
    """A student's own values, and over them what was set."""
    parameters: dict[str, str] = {}
    if (arguments.student is None) != (arguments.seed is None):
        raise UsageError(tr("--student and --seed go together", "--student y --seed van juntos"))
    if arguments.student is not None:
        from trenza.spec import read
        from trenza.spec.seeding import seeded_values

        lab = read(lab_file.source, lab_file.shown(), language=language()).lab
        if not lab.seeded:
            said = tr("no values of each student's own in", "no hay valores propios de cada estudiante en")
            raise UsageError(f"{said} {lab_file.shown()}", hint="seeded: {vni: 100..4000}")
        parameters |= seeded_values(lab.seeded, arguments.student, arguments.seed)
    return parameters | settings_of(arguments.set)


def settings_of(settings: list[str]) -> dict[str, str]:
    """Parameters by name, out of words NAME=VALUE."""
    parameters = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {setting}: write it as NAME=VALUE")
        parameters[name] = value
    return parameters


def confirmed_reset(name: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(
            tr(f"--reset deletes what was done in {name}", f"--reset borra lo hecho en {name}"),
            hint=tr("add --yes to mean it", "añada --yes si es lo que quiere"),
        )
    return _yes(
        tr(
            f"End {name} and build it anew? What was done in it is lost.",
            f"¿Terminar {name} y construirlo de nuevo? Se pierde lo hecho en él.",
        )
    )


def _yes(question: str) -> bool:
    return input(question + tr(" [y/N] ", " [s/N] ")).strip().lower() in ("y", "yes", "s", "si", "sí")


class Progress:
    """A line on a terminal's stderr once something takes longer than a second."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._shown = False

    def __call__(self, message: dict[str, Any]) -> None:
        progress = message.get("progress")
        if not progress or not sys.stderr.isatty() or time.monotonic() - self._began < _PROGRESS_AFTER_S:
            return
        if "services" in progress:
            text = tr(f"waiting for {progress['services']}", f"esperando a {progress['services']}")
        elif "waiting" in progress:
            text = tr(f"waiting for {progress['waiting']} pairs", f"esperando a {progress['waiting']} pares")
        else:
            text = f"{progress['done']}/{progress['of']}"
        self._shown = True
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()

    def end(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _report_up(arguments: argparse.Namespace, name: str, result: dict[str, Any], seconds: float) -> int:
    bad = bool(result["unready"] or result["unready_cluster"] or result.get("silent_pairs"))
    if arguments.format == "json":
        put_json("up", {**result, "name": name, "seconds": round(seconds, 3)})
        return int(bad)
    for fields in result["warnings"]:
        problem = Problem(**{**fields, "severity": Severity(fields["severity"])})
        if problem.severity is Severity.WARNING:
            note(str(problem))
    for one in result["unready"]:
        _say_unready(one)
    for text in result["unready_cluster"]:
        note(tr(f"cluster: {text}", f"clúster: {text}"))
    for source, destination in result.get("silent_pairs") or ():
        note(tr(f"no answer: {source} → {destination}", f"sin respuesta: {source} → {destination}"))
    _say_what_was_done(name, result, seconds)
    _say_left_alone(result["left_alone"])
    if result["converges_s"] and result["fresh"] and "silent_pairs" not in result:
        put(tr(f"  the spanning tree converges in about {result['converges_s']:g} s (2 × forward delay)",
               f"  el árbol converge en unos {result['converges_s']:g} s (2 × forward delay)"))  # fmt: skip
    if result["nat"] and result["fresh"]:
        reached = ", ".join(tr(*_REACHED[grant]) for grant in result["nat"])
        put(tr(f"  its uplinks (to: nat) may reach {reached}", f"  sus salidas (to: nat) pueden llegar a {reached}"))
    if result["fresh"]:
        _say_next(name, result)
    elif result["mode"] != "full" and not _is_chosen(arguments):
        part = "--start" if result["mode"] == "start" else f"--until {result['until']}"
        put(tr(f"  kept as it was started ({part}); the whole solution: trenza up {name} --full --reset",
               f"  sigue como se inició ({part}); la solución entera: trenza up {name} --full --reset"))  # fmt: skip
    return int(bad)


def _say_unready(one: dict[str, Any]) -> None:
    """A service that is not as it should be: what it says against its config, else the end of its output."""
    if one["refusals"]:
        note(tr(f"{one['node']}: {one['service']} refuses its config ({one['reason']}):",
                f"{one['node']}: {one['service']} rechaza su configuración ({one['reason']}):"))  # fmt: skip
        for refusal in one["refusals"]:
            place = "" if refusal["file"] is None else f"{refusal['file']}:{refusal['line']}: "
            note(f"  {place}{refusal['text']}")
        return
    note(tr(f"{one['node']}: service {one['service']}: {one['reason']}",
            f"{one['node']}: servicio {one['service']}: {one['reason']}"))  # fmt: skip
    log = f"/var/log/{one['service']}.log"
    note(tr(f"  the end of its output, {log} in {one['node']}:", f"  el final de su salida, {log} en {one['node']}:"))
    note("\n".join(f"    {line}" for line in one["output"].splitlines()[-10:]))


def _say_what_was_done(name: str, result: dict[str, Any], seconds: float) -> None:
    if result["fresh"]:
        counts = [
            tr(*(words[result[kind] != 1] for words in kinds)).replace("#", str(result[kind]))
            for kind, kinds in _COUNTED.items()
            if result[kind]
        ]
        put(
            tr(f"{name} is up in {_duration(seconds)}: ", f"{name} en marcha en {_duration(seconds)}: ")
            + ", ".join(counts)
        )
    elif result["lines"]:
        put(tr(f"{name}: repaired in {_duration(seconds)}", f"{name}: reparado en {_duration(seconds)}"))
        for line in result["lines"]:
            put(f"  {line}")
    else:
        put(tr(f"{name} is as it should be", f"{name} está como debe"))


def _say_left_alone(lines: list[str]) -> None:
    """What is the person's own; where a thing was changed, an arrow leads from the lab's to hers."""
    if lines:
        put(
            tr(
                "  left alone, since it is yours (the lab's → yours):",
                "  sin tocar, por ser suyo (del laboratorio → suyo):",
            )
        )
    for line in lines:
        put(f"    {line}")


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def _say_next(name: str, result: dict[str, Any]) -> None:
    lab = f" --lab {name}" if len(running_labs()) > 1 else ""
    nodes = result["nodes"]
    node = next((each for each in nodes if "/" in each), nodes[0] if nodes else "NODE").rsplit("/", 1)[-1]
    lines = [(f"trenza show{lab}", tr("what there is", "qué hay"))]
    if result["cluster"]:
        lines.append((f"trenza kubeconfig {name} > k", tr("for kubectl --kubeconfig k", "para kubectl --kubeconfig k")))
    lines.append((f"trenza sh {node}{lab}", tr(f"a shell in {node}", f"una shell en {node}")))
    lines.append((f"trenza down {name}", tr("end it", "terminarlo")))
    width = max(28, *(len(command) + 2 for command, _ in lines))
    for command, meaning in lines:
        put(f"  {command:<{width}} {meaning}")


# ---------------------------------------------------------------- plan
def configure_plan(parser: argparse.ArgumentParser) -> None:
    add_lab_file(parser)
    _add_choices(parser)
    add_format(parser)


def run_plan(arguments: argparse.Namespace) -> int:
    lab_file = None if arguments.lab is None and _runs_without_file() else get_lab_file(arguments.lab)
    if lab_file is None:
        return _report_plan(arguments, ask(get_running(None), {"verb": "plan", "language": language()}))
    return _dry_run(arguments, lab_file, check_name(arguments.name) if arguments.name else _name_of(lab_file))


def _dry_run(arguments: argparse.Namespace, lab_file: LabFile, name: str) -> int:
    """What would change: against the running lab, else against nothing."""
    if name in running_labs():
        request = _request(arguments, lab_file, keep_mode=True)
        descriptor = os.open(lab_file.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            result = ask(name, {**request, "verb": "plan"}, [descriptor])
        finally:
            os.close(descriptor)
        return _report_plan(arguments, result)
    from trenza.model.cluster import ETCD
    from trenza.model.state import State
    from trenza.plan.diff import diff
    from trenza.plan.explain import explain
    from trenza.plan.wanted import wanted_state
    from trenza.spec import Choices, read

    choices = Choices(
        profile=arguments.profile,
        parameters=_parameters(arguments, lab_file),
        variants=tuple(arguments.variants),
        until=arguments.until,
        start=arguments.start,
        has_etcd=os.access(ETCD, os.X_OK),
    )
    lab = read(lab_file.source, lab_file.shown(), choices, language()).lab
    sources = {file.source for node in lab.nodes for file in node.files if file.source is not None}
    contents = {source: (_below(lab_file.directory, source)) for source in sources}
    plan = diff(State(), wanted_state(lab, contents))
    lines = explain(plan, language())
    return _report_plan(arguments, {"lines": lines, "operations": len(plan), "left_alone": []})


def _below(directory: str, source: str) -> bytes:
    from trenza.linux.beneath import open_beneath

    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.fdopen(open_beneath(descriptor, source, os.O_RDONLY), "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"files: from: {source}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _report_plan(arguments: argparse.Namespace, result: dict[str, Any]) -> int:
    if arguments.format == "json":
        put_json("plan", result)
    else:
        for line in result["lines"]:
            put(line)
        _say_left_alone(result["left_alone"])
        if not result["operations"]:
            put(tr("nothing to do", "nada que hacer"))
    return 1 if result["operations"] else 0


# ---------------------------------------------------------------- down, ls, wipe
def configure_down(parser: argparse.ArgumentParser) -> None:
    add_running_lab(parser, "the labs to end", several=True)
    parser.add_argument("--all", action="store_true", help="all that run")


def run_down(arguments: argparse.Namespace) -> int:
    labs = running_labs() if arguments.all else [get_running(name) for name in arguments.lab or [None]]
    for lab in labs:
        down(lab)
        put(tr(f"{lab} is down; nothing is left", f"{lab} terminado; no queda nada"))
    return 0


def configure_ls(parser: argparse.ArgumentParser) -> None:
    add_format(parser)


def run_ls(arguments: argparse.Namespace) -> int:
    rows = []
    for lab in running_labs():
        shown = ask(lab, {"verb": "show", "what": "nodes"})
        states = [node["state"] for node in shown["nodes"]]
        rows.append(
            {
                "lab": lab,
                "mode": shown["mode"],
                "nodes": len(states),
                "running": states.count("running"),
                "file": shown["file"],
            }
        )
    if arguments.format == "json":
        put_json("labs", {"labs": rows})
    elif rows:
        cells = [[row["lab"], row["mode"], f"{row['running']}/{row['nodes']}", row["file"]] for row in rows]
        put(table(["LAB", "MODE", "NODES", "FILE"], cells))
    else:
        put(tr("no lab is running", "no hay ningún laboratorio en marcha"))
    return 0


def configure_wipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def run_wipe(arguments: argparse.Namespace) -> int:
    """End all labs, also broken ones, and delete journals and recorded sessions."""
    import shutil

    from trenza.linux import sandbox

    if not arguments.yes:
        if not sys.stdin.isatty():
            raise UsageError(tr("wipe deletes every journal", "wipe borra todos los diarios"), hint="trenza wipe --yes")
        question = tr("End every lab and delete every journal?", "¿Terminar todo y borrar todos los diarios?")
        if not _yes(question):
            return 1
    for entry in list(sandbox.runtime_directory().iterdir()):
        if entry.is_dir():
            down(entry.name)
    shutil.rmtree(sandbox.history_directory("wipe").parent, ignore_errors=True)
    put(tr("nothing is left", "no queda nada"))
    return 0
