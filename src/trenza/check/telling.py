"""Telling: checks and their marks as titles, plain data, lines for people and JUnit XML."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, assert_never
from xml.sax.saxutils import escape, quoteattr

from trenza.check.counterparts import Match
from trenza.check.marks import CheckpointMark, Result
from trenza.check.verdict import Finding, Said, Verdict, same
from trenza.model.checks import (
    Arp,
    Check,
    Dhcp,
    Dns,
    FaultOutcome,
    Fdb,
    Http,
    KubernetesObject,
    Mtu,
    Netns,
    NoIp,
    NoPing,
    Owner,
    PathTaken,
    Ping,
    PingAll,
    Question,
    RouteTo,
    Run,
    Seen,
    ServiceRuns,
    Spot,
    Stp,
    Tcp,
)
from trenza.model.names import Interface, bare_name

KINDS: dict[type[Any], str] = {
    Ping: "ping", NoPing: "no_ping", PingAll: "ping_all", PathTaken: "path", Http: "http", Tcp: "tcp", Dns: "dns",
    Dhcp: "dhcp", Mtu: "mtu", Stp: "stp", Fdb: "fdb", Arp: "arp", RouteTo: "route", Seen: "seen", Owner: "owner",
    Netns: "netns", NoIp: "no_ip", ServiceRuns: "service", FaultOutcome: "fault", Run: "run",
    KubernetesObject: "kubernetes",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run of the checks found out."""

    lab: str
    marks: tuple[CheckpointMark, ...]
    matches: tuple[Match, ...] = ()
    began_s: float = 0.0
    seconds: float = 0.0

    @property
    def points(self) -> float:
        return sum(one.points for one in self.marks)

    @property
    def max_points(self) -> float:
        return sum(one.max_points for one in self.marks)

    @property
    def passed(self) -> bool:
        """Whether all that is worth points has passed; where nothing is, all."""
        worth = [one for one in self.marks if one.results and one.max_points] or [
            one for one in self.marks if one.results
        ]
        return all(one.verdict is Verdict.PASS for one in worth)


# ---------------------------------------------------------------- titles
def kind_of(question: Question) -> str:
    """A question's kind, as the lab file names it."""
    return "not_seen" if isinstance(question, Seen) and question.never else KINDS[type(question)]


def title_of(check: Check) -> Said:
    """What people read: the author's title, else the question in a few words."""
    if check.title:
        first = next(iter(check.title.values()))
        return Said(check.title.get("en", first), check.title.get("es", first))
    return question_title(check.question)


def _name(spot: Spot) -> str:
    if isinstance(spot, Interface):
        return f"{bare_name(spot.node)}.{spot.nic}"
    return bare_name(spot) if isinstance(spot, str) else str(spot)


def question_title(question: Question) -> Said:
    """A question in a few words: `ping c1 → c2`."""
    name = _name
    match question:
        case Ping():
            size = f" ({question.size_bytes} B)" if question.size_bytes else ""
            return same(f"ping {name(question.source)} → {name(question.to)}{size}")
        case NoPing():
            there = f"{name(question.source)} → {name(question.to)}"
            return Said(f"no ping {there}", f"sin ping {there}")
        case PingAll():
            all_ = " ".join(map(name, question.among))
            return Said(f"ping among {all_}", f"ping entre {all_}")
        case PathTaken():
            there = f"{name(question.source)} → {name(question.to)}"
            ways = [("", question.hops), ("ping -R ", question.record_route)]
            shown = "; ".join(f"{how}{' '.join(map(name, hops))}" for how, hops in ways if hops)
            return Said(f"path {there}: {shown}", f"camino {there}: {shown}")
        case Http():
            where = f"http {name(question.source)} → {name(question.to)}:{question.port}{question.path}"
            served = " ".join(map(name, question.served_by))
            return Said(f"{where} by {served}", f"{where} por {served}") if served else same(where)
        case Tcp():
            where = f"tcp {name(question.source)} → {name(question.to)}:{question.port}"
            return same(where) if question.open else Said(f"no {where}", f"sin {where}")
        case Dns():
            return same(f"dns {name(question.source)}: {question.name} {question.type}")
        case Dhcp():
            return same(f"dhcp {name(question.at)}")
        case Mtu():
            return same(f"mtu {name(question.source)} → {name(question.to)}: {question.size_bytes}")
        case Stp():
            return _stp_title(question)
        case Fdb():
            has = " ".join(map(name, question.has)) or str(question.count if question.count is not None else "")
            return Said(f"{name(question.bridge)} has learnt {has}", f"{name(question.bridge)} ha aprendido {has}")
        case Arp():
            return same(f"arp {name(question.node)}: {name(question.ip)} = {name(question.owner)}")
        case RouteTo():
            via = f" via {name(question.via)}" if question.via else ""
            dev = f" dev {question.dev.nic}" if question.dev else ""
            return Said(
                f"route {name(question.node)} → {name(question.to)}{via}{dev}",
                f"ruta {name(question.node)} → {name(question.to)}{via}{dev}",
            )
        case Seen():
            at = question.at if isinstance(question.at, str) else name(question.at)
            return (
                Said(f"no {question.frames} at {at}", f"ninguna {question.frames} en {at}")
                if question.never
                else Said(f"{question.frames} at {at}", f"{question.frames} en {at}")
            )
        case Owner():
            owner, seen_from = name(question.owner), name(question.seen_from)
            return Said(
                f"{question.of} is {owner}'s, as {seen_from} sees",
                f"{question.of} es de {owner}, visto desde {seen_from}",
            )
        case Netns():
            return same(f"netns {question.name} = {name(question.container)}")
        case NoIp():
            return Said(f"no address at {name(question.nic)}", f"sin dirección en {name(question.nic)}")
        case ServiceRuns():
            ports = "".join(f" :{port}" for port in question.ports)
            program, node = f"{question.program}{ports}", name(question.node)
            return Said(f"{program} runs in {node}", f"{program} corre en {node}")
        case FaultOutcome():
            return Said(f"fault {question.fault}", f"avería {question.fault}")
        case KubernetesObject():
            return _objects_title(question)
        case Run():
            return same(f"{name(question.node)}: {' '.join(question.argv)[:60]}")
        case _:
            assert_never(question)


def _objects_title(question: KubernetesObject) -> Said:
    parts = [str(question.count)] if question.count is not None else []
    parts += [f"≥{question.at_least}"] if question.at_least is not None else []
    parts += [question.kind, question.name, question.labels]
    parts += [f"@{question.node}"] if question.node is not None else []
    parts += [question.condition, *(f"{path}={value}" for path, value in question.has.items())]
    parts += [f"endpoints={question.endpoints}"] if question.endpoints is not None else []
    return same(f"kubernetes {' '.join(part for part in parts if part)}")


def _stp_title(question: Stp) -> Said:
    parts: list[tuple[str, str]] = []
    if question.root is not None:
        parts.append((f"root {_name(question.root)}", f"raíz {_name(question.root)}"))
    if question.blocked is not None:
        count = question.blocked if isinstance(question.blocked, int) else " ".join(map(_name, question.blocked))
        parts.append((f"blocked {count}", f"bloqueados {count}"))
    if question.members:
        members = " ".join(map(_name, question.members))
        parts.append((f"{members} take part", f"participan {members}"))
    if question.like_theory:
        parts.append(("as theory says", "como dice la teoría"))
    return Said("stp: " + ", ".join(en for en, _ in parts), "stp: " + ", ".join(es for _, es in parts))


# ---------------------------------------------------------------- data
def plain(value: object) -> Any:
    """A question as plain data, ready for JSON: fields that say nothing are left out."""
    if isinstance(value, Interface):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        told = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        return {name: one for name, one in told.items() if one not in (None, [], {}, False)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, tuple | list | frozenset):
        return [plain(one) for one in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def points_data(points: float) -> float:
    """Points to four places, whole ones as whole numbers."""
    rounded = round(points, 4)
    return int(rounded) if rounded == int(rounded) else rounded


def check_data(mark: CheckpointMark, result: Result, number: int, language: str) -> dict[str, Any]:
    """One check's result in its checkpoint."""
    check = result.check
    return {
        "id": f"{mark.checkpoint.name}/{number}",
        **result_data(result, f"{mark.checkpoint.name}-{number}", language),
        "weight": check.weight,
        "required": check.required,
        "hidden": check.hidden,
        "points": points_data(mark.points_of(result)),
        "max_points": points_data(mark.max_points_of(result)),
    }


def _shown_title(check: Check, language: str) -> str:
    """The title, and that the checkpoint is worth nothing without it."""
    title = title_of(check).in_language(language)
    return title if not check.required else title + (" (imprescindible)" if language == "es" else " (required)")


def result_data(result: Result, name: str, language: str) -> dict[str, Any]:
    """What was asked, and what that found out; `name` is for a file of its frames."""
    check, finding = result.check, result.finding
    return {
        "kind": kind_of(check.question),
        "title": _shown_title(check, language),
        "asked": plain(check.question),
        **finding_data(finding, language),
        "passed_after_s": None if result.passed_after_s is None else round(result.passed_after_s, 3),
        "evidence": {
            "began_s": result.began_s,
            "ended_s": result.ended_s,
            "theory": result.theory,
            "answers": plain(dict(finding.evidence)),
            "frames": [
                {"name": f"{name}.pcapng", "data": b64encode(result.frames).decode()}
                for _ in range(bool(result.frames))
            ],
        },
    }


def finding_data(finding: Finding, language: str) -> dict[str, Any]:
    """A verdict and its sentences."""
    return {
        "verdict": finding.verdict.value,
        "credit": round(finding.credit, 4),
        "said": finding.said.in_language(language),
        "because": finding.because.in_language(language),
        "hint": finding.hint.in_language(language),
    }


def report_data(report: Report, language: str) -> dict[str, Any]:
    """The whole run, as `trenza check -f json` prints it."""
    return {
        "lab": report.lab,
        "points": points_data(report.points),
        "max_points": points_data(report.max_points),
        "passed": report.passed,
        "began_s": report.began_s,
        "seconds": round(report.seconds, 3),
        "mapping": [
            {"name": match.name, "is": match.node, "how": match.how, "given": match.given} for match in report.matches
        ],
        "checkpoints": [
            {
                "name": mark.checkpoint.name,
                "title": dict(mark.checkpoint.title),
                "points": points_data(mark.points),
                "max_points": points_data(mark.max_points),
                "verdict": mark.verdict.value,
                "latched_s": None if mark.latched is None else mark.latched.time_s,
                "hidden": bool(mark.results) and all(result.check.hidden for result in mark.results),
                "checks": [
                    check_data(mark, result, number, language) for number, result in enumerate(mark.results, start=1)
                ],
            }
            for mark in report.marks
        ],
    }


# ---------------------------------------------------------------- JUnit
Data = Mapping[str, Any]


def junit_xml(report: Data) -> str:
    """A run as JUnit XML: a suite for each checkpoint, a case for each check."""
    suites = []
    for checkpoint in report["checkpoints"]:
        cases = "".join(_junit_case(report["lab"], checkpoint["name"], check) for check in checkpoint["checks"])
        tally = [check["verdict"] for check in checkpoint["checks"]]
        suites.append(
            f'<testsuite name={quoteattr(checkpoint["name"])} tests="{len(tally)}" failures="{tally.count("fail")}"'
            f' errors="{tally.count("cannot-tell")}" skipped="{tally.count("skipped")}">{cases}</testsuite>'
        )
    body = "".join(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name={quoteattr(report["lab"])}>{body}</testsuites>\n'


_JUNIT: dict[str, str] = {"fail": "failure", "cannot-tell": "error", "skipped": "skipped"}


def _junit_case(lab: str, checkpoint: str, check: Data) -> str:
    evidence = check["evidence"]
    seconds = max(0.0, evidence["ended_s"] - evidence["began_s"])
    head = f"<testcase classname={quoteattr(f'{lab}.{checkpoint}')} name={quoteattr(xml_text(check['title']))}"
    head += f' time="{seconds:.3f}"'
    element = _JUNIT.get(check["verdict"])
    if element is None:
        return head + "/>"
    why = xml_text(check["because"] or check["said"])
    return f"{head}><{element} message={quoteattr(why)}>{escape(xml_text(check['said']))}</{element}></testcase>"


def xml_text(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold."""
    return "".join(
        one if one in "\t\n\r" or " " <= one < "\ud800" or "\ue000" <= one < "\ufffe" else "�" for one in text
    )
