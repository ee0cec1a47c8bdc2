"""`trenza`: finds the verb, builds its parser alone, runs it, and turns errors into sentences and exit codes."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import trenza
from trenza.cli.speech import choose_language, note, put, put_error, tr
from trenza.errors import TrenzaError


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: the module of `trenza.cli` that has `configure_VERB(parser)` and `run_VERB(arguments)`."""

    module: str
    english: str
    spanish: str


VERBS = {
    "up": Verb("lifecycle", "bring a lab up, or repair it", "levanta un laboratorio, o lo repara"),
    "down": Verb("lifecycle", "end a lab; nothing is left", "termina un laboratorio; no queda nada"),
    "ls": Verb("lifecycle", "labs that run", "laboratorios en marcha"),
    "plan": Verb("lifecycle", "what `up` would change", "lo que `up` cambiaría"),
    "save": Verb(
        "saving", "a lab as an archive, or as a lab file", "un laboratorio como archivo, o como fichero de lab"
    ),
    "wipe": Verb("lifecycle", "end every lab and forget its journals", "termina todo y olvida los diarios"),
    "show": Verb(
        "look", "nodes, links, addresses, routes, neighbours, fdb, stp, faults", "nodos, enlaces, direcciones…"
    ),
    "sh": Verb("inside", "a shell in a node", "una shell en un nodo"),
    "exec": Verb("inside", "run a command in a node", "ejecuta una orden en un nodo"),
    "cp": Verb("inside", "copy a file to or from a node", "copia un fichero a o desde un nodo"),
    "launch": Verb("inside", "a bare container in a host", "un contenedor vacío en un host"),
    "start": Verb("inside", "start a stopped node", "arranca un nodo parado"),
    "stop": Verb("inside", "stop a node", "para un nodo"),
    "restart": Verb("inside", "stop and start a node", "para y arranca un nodo"),
    "rm": Verb("inside", "stop a node and delete its files", "para un nodo y borra sus ficheros"),
    "history": Verb("inside", "what was typed in the nodes' shells", "lo tecleado en las shells"),
    "logs": Verb("logs", "what services write, and go on writing (-f)", "lo que escriben los servicios"),
    "events": Verb("look", "what happened, and what happens (-f)", "lo que pasó, y lo que pasa (-f)"),
    "check": Verb("checking", "how far you are: checks, points, what is wrong", "cuánto llevas: puntos, y qué falla"),
    "fault": Verb(
        "breaking", "break something: a cable, a switch, a daemon", "avería algo: un cable, un puente, un demonio"
    ),
    "outage": Verb(
        "breaking", "measure what a fault does, and what it waits for", "mide qué causa una avería, y qué espera"
    ),
    "heal": Verb("breaking", "mend what was broken", "arregla lo averiado"),
    "forward": Verb("forwarding", "a port of this machine leads into a lab", "un puerto de esta máquina lleva al lab"),
    "kubeconfig": Verb("clusters", "your own kubectl in a lab's cluster", "su propio kubectl en el clúster"),
    "capture": Verb("look", "frames of a node or interface", "tramas de un nodo o interfaz"),
    "graph": Verb("look", "the lab as a Mermaid diagram", "el laboratorio como diagrama Mermaid"),
    "grade": Verb("grading", "grade a class's archives, each in a sandbox", "califica los archivos de una clase"),
    "lint": Verb("author", "check a lab file", "comprueba un fichero de laboratorio"),
    "labs": Verb("author", "the labs that come with trenza", "los laboratorios que trae trenza"),
    "new": Verb("author", "a lab file to begin with", "un fichero de laboratorio para empezar"),
    "schema": Verb("author", "JSON Schema of the lab file or of -f json", "JSON Schema del fichero o de -f json"),
    "doctor": Verb("author", "what this machine lacks, and the cure", "qué le falta a esta máquina, y el remedio"),
    "completion": Verb("author", "completion for bash, zsh or fish", "autocompletado para bash, zsh o fish"),
}
ALIASES = {"deploy": "up", "destroy": "down", "lstart": "up", "lclean": "down"}


class Parser(argparse.ArgumentParser):
    """argparse whose errors look like trenza's others."""

    def error(self, message: str) -> NoReturn:
        note(f"trenza: {message}")
        note(f"  {self.format_usage().strip()}")
        sys.exit(2)


_LANGUAGES = ("en", "es")


def main(words: Sequence[str] | None = None) -> NoReturn:
    """The program."""
    _open_standard_streams()
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    sys.exit(run(list(sys.argv[1:] if words is None else words)))


def _open_standard_streams() -> None:
    """Whoever closed one of the three gets /dev/null there, before a socket of ours takes its number."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115  # for as long as we run


def run(words: list[str]) -> int:
    """Run a command line; its exit code (0 done, 1 failed, 2 bad usage or lab file, 3 this machine lacks something)."""
    words, language = _take_language(words)
    choose_language(language)
    if not words:
        put(_welcome())
        return 0
    if words[0] in ("-h", "--help", "help"):
        put(_help())
        return 0
    if words[0] in ("-V", "--version", "version"):
        put(f"trenza {trenza.__version__}")
        return 0
    word = ALIASES.get(words[0], words[0])
    if word not in VERBS:
        return _unknown(word)
    parser, action = _parser_of(word)
    arguments = parser.parse_args(words[1:])
    as_json = getattr(arguments, "format", "text") == "json"
    try:
        return action(arguments)
    except TrenzaError as error:
        put_error(error, as_json=as_json)
        return 125 if word in ("exec", "sh") and error.exit_code != 2 else error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read us has gone; nothing more to say
        return 0


def _take_language(words: list[str]) -> tuple[list[str], str | None]:
    """The words without `--lang`, before the verb or after it; not among those of a command that runs in a node."""
    verb = next((word for word in words if not word.startswith("-") and word not in _LANGUAGES), "")
    end = words.index(verb) if ALIASES.get(verb, verb) in ("exec", "sh") else len(words)
    for place, word in enumerate(words[:end]):
        if word == "--":
            break
        if word.startswith("--lang="):
            return words[:place] + words[place + 1 :], word.removeprefix("--lang=")
        if word == "--lang" and place + 1 < len(words):
            return words[:place] + words[place + 2 :], words[place + 1]
    return words, None


def _parser_of(word: str) -> tuple[Parser, Callable[[argparse.Namespace], int]]:
    verb = VERBS[word]
    module = importlib.import_module(f"trenza.cli.{verb.module}")
    parser = Parser(prog=f"trenza {word}", description=tr(verb.english, verb.spanish), allow_abbrev=False)
    getattr(module, f"configure_{word}")(parser)
    action: Callable[[argparse.Namespace], int] = getattr(module, f"run_{word}")
    return parser, action


def _unknown(word: str) -> int:
    import difflib

    close = difflib.get_close_matches(word, [*VERBS, *ALIASES], n=1, cutoff=0.5)
    note(tr(f"trenza: unknown verb {word!r}", f"trenza: verbo desconocido {word!r}"))
    if close:
        note(tr(f"  did you mean {close[0]}?", f"  ¿quería decir {close[0]}?"))
    else:
        note("  " + " ".join(VERBS))
    return 2


def _help() -> str:
    lines = [f"  {name:<11} {tr(verb.english, verb.spanish)}" for name, verb in VERBS.items()]
    usage = tr("usage: trenza [--lang en|es] VERB …", "uso: trenza [--lang en|es] VERBO …")
    more = tr("`trenza VERB --help` says more.", "`trenza VERBO --help` dice más.")
    others = ", ".join(f"{alias} = {word}" for alias, word in ALIASES.items())
    more += "\n" + tr(f"Known from other tools: {others}.", f"De otras herramientas: {others}.")
    return "\n".join([usage, "", *lines, "", more])


def _welcome() -> str:
    """The next three things to type."""
    from trenza.client.session import running_labs

    labs = running_labs()
    if labs:
        lab = f" --lab {labs[0]}" if len(labs) > 1 else ""
        return "\n".join(
            [
                tr(f"running: {', '.join(labs)}", f"en marcha: {', '.join(labs)}"),
                f"  trenza show{lab:<18} " + tr("what there is", "qué hay"),
                f"  trenza sh NODE{lab:<15} " + tr("a shell in a node", "una shell en un nodo"),
                f"  trenza down {labs[0]:<17} " + tr("end it", "terminarlo"),
            ]
        )
    return "\n".join(
        [
            tr("trenza: networks of containers on this machine", "trenza: redes de contenedores en esta máquina"),
            "  trenza labs             " + tr("the labs there are", "los laboratorios que hay"),
            "  trenza up bridged-lan   " + tr("bring one up", "levantar uno"),
            "  trenza doctor           " + tr("whether this machine can", "si esta máquina puede"),
        ]
    )


def _complete() -> None:
    """Answer the shell's question, by argcomplete; never returns."""
    import argcomplete

    parser = argparse.ArgumentParser(prog="trenza")
    parser.add_argument("--lang", choices=_LANGUAGES)
    verbs = parser.add_subparsers(parser_class=Parser)
    for word, verb in VERBS.items():
        module = importlib.import_module(f"trenza.cli.{verb.module}")
        getattr(module, f"configure_{word}")(verbs.add_parser(word, add_help=True))
    argcomplete.autocomplete(parser, always_complete_options=False)


if __name__ == "__main__":
    main()
