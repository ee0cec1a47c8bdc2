"""Work inside nodes: sh, exec, cp, and nodes by hand: launch, start, stop, restart, rm; history."""

from __future__ import annotations

import argparse
import base64
import os
import stat
import sys
import time
from pathlib import Path

from trenza.cli.arguments import add_format, add_lab, add_node, add_place
from trenza.cli.speech import language, note, printable, put, put_json, tr
from trenza.client.session import RemoteError, ask, get_running
from trenza.client.terminal import run_command
from trenza.errors import UsageError

IN_A_POD = "a node, or of a cluster pod/NAME, pod/LABEL=VALUE, pod/@NODE (the first that is Ready)"


# ---------------------------------------------------------------- sh and exec
def configure_sh(parser: argparse.ArgumentParser) -> None:
    add_place(parser, help=IN_A_POD)
    add_lab(parser)
    parser.add_argument("-u", "--user", help="as this account of the node instead of root")
    parser.add_argument("--no-record", action="store_true", help="do not keep what is typed for `trenza history`")


def run_sh(arguments: argparse.Namespace) -> int:
    lab = get_running(arguments.lab)
    shell = ["bash"]
    if sys.stdin.isatty() and sys.stdout.isatty():
        shell += ["--rcfile", "/etc/trenza/bashrc"]  # it tells the keeper what is typed; see trenza.keeper.terminal
    return _run(lab, arguments.node, shell, user=arguments.user, record=not arguments.no_record, shell=True)


def configure_exec(parser: argparse.ArgumentParser) -> None:
    add_lab(parser)
    parser.add_argument("-u", "--user", help="as this account of the node instead of root")
    parser.add_argument("-w", "--workdir", metavar="DIR", help="the directory to run it in")
    parser.add_argument(
        "-e", "--env", metavar="NAME=VALUE", action="append", default=[], help="an environment variable"
    )
    parser.add_argument("-T", "--no-tty", action="store_true", help="no terminal, even if this is one")
    parser.add_argument("--no-record", action="store_true", help="do not keep it for `trenza history`")
    add_place(parser, help=IN_A_POD)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the command and its arguments")


def run_exec(arguments: argparse.Namespace) -> int:
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise UsageError(tr("no command given", "falta la orden"), hint="trenza exec NODE -- ping -c 3 10.0.0.12")
    environment = {}
    for setting in arguments.env:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--env {setting}: write it as NAME=VALUE")
        environment[name] = value
    return _run(
        get_running(arguments.lab),
        arguments.node,
        command,
        user=arguments.user,
        record=not arguments.no_record,
        cwd=arguments.workdir,
        environment=environment,
        terminal=False if arguments.no_tty else None,
    )


def _run(
    lab: str,
    node: str,
    command: list[str],
    *,
    user: str | None,
    record: bool,
    shell: bool = False,
    cwd: str | None = None,
    environment: dict[str, str] | None = None,
    terminal: bool | None = None,
) -> int:
    if terminal is None:
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        return run_command(
            lab,
            node,
            command,
            terminal=terminal,
            record=record,
            shell=shell,
            user=user,
            cwd=cwd,
            environment=environment,
            language=language(),
            told=lambda pod: note(tr(f"in {pod}", f"en {pod}")),
        )
    except RemoteError as error:
        if "status" in error.fields:  # the command could not be executed: 125, 126 or 127, as a shell would say
            note(f"trenza: {node}: {error.message}")
            if error.hint:
                note(f"  {error.hint}")
            return int(error.fields["status"])
        raise


# ---------------------------------------------------------------- cp
def configure_cp(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="FROM", help="a file here, or NODE:PATH")
    parser.add_argument("target", metavar="TO", help="a path here, or NODE:PATH")
    add_lab(parser)


def run_cp(arguments: argparse.Namespace) -> int:
    lab = get_running(arguments.lab)
    from_node, from_path = _place(arguments.source)
    to_node, to_path = _place(arguments.target)
    if from_node is None and to_node is None:
        raise UsageError(tr("neither is in a node", "ninguno está en un nodo"), hint="trenza cp FILE NODE:/etc/FILE")
    if from_node is not None:
        answer = ask(lab, {"verb": "get", "node": from_node, "path": from_path})
        content, mode = base64.b64decode(answer["content"]), answer["mode"]
    else:
        try:
            content = Path(from_path).read_bytes()
            mode = stat.S_IMODE(os.stat(from_path).st_mode)
        except OSError as error:
            raise UsageError(f"cannot read {from_path}: {error.strerror}") from error
    name = from_path.rstrip("/").rsplit("/", 1)[-1]
    if to_node is not None:
        path = to_path + name if to_path.endswith("/") or not to_path else to_path
        request = {"verb": "put", "node": to_node, "path": path or name, "mode": mode & 0o777}
        answer = ask(lab, {**request, "content": base64.b64encode(content).decode()})
        for text in answer["unready_cluster"]:
            note(tr(f"cluster: {text}", f"clúster: {text}"))
        return int(bool(answer["unready_cluster"]))
    target = Path(to_path) / name if Path(to_path).is_dir() else Path(to_path)
    try:
        target.write_bytes(content)
        target.chmod(mode & 0o777)
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from error
    return 0


def _place(text: str) -> tuple[str | None, str]:
    """`NODE:PATH`, or a path here (`./a:b` where a name here holds a colon)."""
    node, colon, path = text.partition(":")
    return (node, path) if colon and not node.startswith((".", "/")) else (None, text)


# ---------------------------------------------------------------- nodes by hand
def configure_launch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="HOST/NAME", nargs="+", help="the host it runs in, and its name; or HOST NAME")
    add_lab(parser)


def run_launch(arguments: argparse.Namespace) -> int:
    lab = get_running(arguments.lab)
    host, slash, name = "/".join(arguments.name).partition("/")
    if not slash:
        raise UsageError(
            tr(f"{host}: in which host?", f"{host}: ¿en qué host?"),
            hint=f"trenza launch HOST/{host}",
        )
    node = ask(lab, {"verb": "launch", "host": host, "name": name})["node"]
    put(tr(f"{node} runs; it has only lo", f"{node} en marcha; solo tiene lo"))
    return 0


def _configure_nodes(parser: argparse.ArgumentParser) -> None:
    add_node(parser, "nodes", nargs="+")
    add_lab(parser)


configure_start = configure_stop = configure_restart = configure_rm = _configure_nodes


def _each(arguments: argparse.Namespace, verb: str, english: str, spanish: str) -> int:
    lab = get_running(arguments.lab)
    for node in arguments.nodes:
        done = ask(lab, {"verb": verb, "node": node})
        put(f"{done['node']} " + tr(english, spanish))
        for link in done.get("dangling") or ():
            host = done["node"].partition("/")[0]
            put(tr(f"  {host}: {link} names nothing any more", f"  {host}: {link} ya no nombra nada"))
    return 0


def run_start(arguments: argparse.Namespace) -> int:
    return _each(arguments, "start", "runs", "en marcha")


def run_stop(arguments: argparse.Namespace) -> int:
    return _each(arguments, "stop", "stopped", "parado")


def run_restart(arguments: argparse.Namespace) -> int:
    return _each(arguments, "restart", "runs again", "de nuevo en marcha")


def run_rm(arguments: argparse.Namespace) -> int:
    return _each(arguments, "rm", "removed", "borrado")


# ---------------------------------------------------------------- history
def configure_history(parser: argparse.ArgumentParser) -> None:
    add_node(parser, nargs="?")
    add_lab(parser)
    parser.add_argument("--all", action="store_true", help="earlier runs of the lab too")
    add_format(parser)


def run_history(arguments: argparse.Namespace) -> int:
    lab = get_running(arguments.lab)
    lines = ask(lab, {"verb": "history", "node": arguments.node, "all": arguments.all})["lines"]
    if arguments.format == "json":
        put_json("history", {"lines": lines})
        return 0
    for line in lines:
        when = time.strftime("%H:%M:%S", time.localtime(line["time"]))
        status = "" if line["status"] == 0 else f"   [{line['status']}]"
        node = "" if arguments.node else f"{line['node']:<16} "
        put(printable(f"{when}  {node}{line['line']}{status}", keep=""))
    return 0
