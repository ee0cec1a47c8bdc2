"""Reading: from the bytes of a lab file and a person's choices to a Lab and what is to be said about it.

bytes ─yaml_text─▶ tree ─parameters─▶ tree ─decode─▶ drafts of every part, so that all of it is checked
  base and chosen parts ─regions─▶ copies made, templates laid under ─merge─▶ one tree
  ─decode─▶ records ─drafts, wiring, build─▶ Lab ─lint─▶ problems
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trenza.errors import LabFileError, Problem, UsageError
from trenza.model.checks import Check
from trenza.model.lab import Checkpoint, Lab, Variant
from trenza.spec.build import nodes_of
from trenza.spec.check_format import CHECK
from trenza.spec.checks import Asking
from trenza.spec.cluster import cluster_of, with_etcd, with_manifests
from trenza.spec.decode import Decoded, Decoder
from trenza.spec.drafts import drafts_of
from trenza.spec.format import ADDS, HIDDEN, LAB
from trenza.spec.kinds import Kind, Record
from trenza.spec.lint import lint
from trenza.spec.mend import mended
from trenza.spec.merge import merged
from trenza.spec.parameters import UNTOUCHED, Filling
from trenza.spec.regions import Regions, base_of
from trenza.spec.report import Report, Word, meant, nearest
from trenza.spec.slips import slip_of_key
from trenza.spec.tree import Entry, Mapped, Place, Scalar, Sequence, Tree
from trenza.spec.wiring import wiring_of
from trenza.spec.yaml_text import Unreadable, decoded, tree_of


@dataclass(frozen=True, slots=True)
class Choices:
    """How a lab is to be brought up. `start`: the base alone; `until`: checkpoints up to the one of that name or number
    (from 1), itself included; neither: all of them. Without `has_etcd` a cluster's server is its store."""

    profile: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    variants: tuple[str, ...] = ()
    until: str | None = None
    start: bool = False
    has_etcd: bool = True

    @property
    def whole(self) -> bool:
        """Whether nothing of the solution is left out, so that what is unused is unused."""
        return not self.start and self.until is None


@dataclass(frozen=True, slots=True)
class Reading:
    """A lab, and the warnings and notes about its file."""

    lab: Lab
    problems: tuple[Problem, ...] = ()


def read(
    source: bytes,
    file: str,
    choices: Choices | None = None,
    language: str = "en",
    hidden: tuple[bytes, str] | None = None,
) -> Reading:
    """The lab that a file describes under some choices. Pure: nothing but the bytes is looked at.

    `hidden` is a second file, its bytes and its name: `checkpoints:` with further checks for those of the lab.

    Raises LabFileError with every error of the file, and UsageError when the file is right but a choice is not there.
    """
    return _Reader(source, file, choices or Choices(), language, hidden).reading()


def read_check(source: bytes, file: str, choices: Choices, asked: tuple[bytes, str], language: str = "en") -> Check:
    """A check beside those of a lab, its names those of the whole lab.

    `asked` is its text, as an item of `checks:` (JSON is YAML), and what to call that. Raises LabFileError with every
    error of it, or of the lab.
    """
    return _Reader(source, file, choices, language, None).check(*asked)


class _Reader:
    def __init__(
        self, source: bytes, file: str, choices: Choices, language: str, hidden: tuple[bytes, str] | None
    ) -> None:
        self.text, self.trouble = decoded(source)
        self.report = Report(file, self.text, language)
        self.hidden = hidden
        self.language = language
        self.choices = choices
        self.usage: list[UsageError] = []
        self.known: Mapping[str, Scalar] = {}
        self.asking: Asking | None = None

    def reading(self) -> Reading:
        if self.trouble is not None:
            code, at, values = self.trouble
            self.report.say(code, at, None, **values)
            raise LabFileError(self.report.problems())
        try:
            lab = self._lab(tree_of(self.text, self.report))
        except Unreadable:
            raise LabFileError(self.report.problems()) from None
        if self.report.has_errors:
            raise LabFileError(self.report.problems())
        if self.usage:
            raise self.usage[0]
        return Reading(lab, self.report.problems())

    def check(self, source: bytes, file: str) -> Check:
        self.reading()
        assert self.asking is not None
        report, record = self._beside(source, file, CHECK, self.known)
        found = self.asking.told_to(report).find_check(record)
        if found is None or report.has_errors:
            raise LabFileError(report.problems())
        return found

    def _lab(self, tree: Mapped) -> Lab:
        self.known = known = self._parameters(tree)
        filling = Filling(known, self.report, last=False)
        entries = {
            name: entry if name in UNTOUCHED else Entry(entry.key, filling.filled(_kind(name), entry.value))
            for name, entry in tree.entries.items()
        }
        tree = Mapped(entries, tree.at, tree.size)
        top = Decoder(self.report, draft=True).record(LAB, tree)
        self._say_taken_checkpoints(top)
        if self.report.has_errors:
            tree = self._mended(tree)

        templates = tree.get("templates")
        regions = Regions(templates.entries if isinstance(templates, Mapped) else {}, self.report)
        region = regions.expanded(base_of(tree))
        for adds in self._chosen(tree, top):
            over = merged(ADDS, region, regions.expanded(adds), self.report)
            assert isinstance(over, Mapped)
            region = over
        record = Decoder(self.report, draft=False).record(ADDS, region)

        drafts = drafts_of(record, self.report)
        wiring = wiring_of(drafts, self.report)
        nodes = nodes_of(drafts, wiring, self.report)
        cluster = cluster_of(record.record("cluster"), drafts, nodes, self.report, has_etcd=self.choices.has_etcd)
        self.asking = Asking(drafts, wiring.cables, cluster, self.report, clustered="cluster" in record)
        nodes = with_manifests(with_etcd(nodes, cluster), cluster, record.record("cluster"))
        lab = Lab(
            name=top.text("lab") or "",
            title=_title(top),
            nodes=nodes,
            cluster=cluster,
            cables=wiring.cables,
            checkpoints=self._checkpoints(top, self.asking, known),
            variants=tuple(Variant(name, _title(variant)) for name, variant in top.table("variants").items()),
            profiles=tuple(top.scalars("profiles")),
            parameters={name: scalar.value for name, scalar in known.items()},
            seeded=self._seeded(top, known),
            equivalent={name: str(given.value) for name, given in top.scalars("equivalent").items()},
        )
        if not self.report.has_errors:
            lint(lab, drafts, wiring, top, self.report, whole=self.choices.whole)
            if self.choices.whole:
                self._say_unused(tree, filling, regions, top)
        return lab

    def _mended(self, tree: Mapped) -> Mapped:
        again = mended(LAB, tree)
        assert isinstance(again, Mapped)
        return again

    def _say_taken_checkpoints(self, top: Decoded) -> None:
        lines: dict[str, int] = {}
        for checkpoint in top.records("checkpoints"):
            if (name := checkpoint.text("name")) is not None:
                at = checkpoint.place("name")
                if name in lines:
                    self.report.say("E055", at, None, name=name, line=lines[name])
                lines.setdefault(name, at.line)

    def _parameters(self, tree: Mapped) -> dict[str, Scalar]:
        """Parameters by name: as declared, then the profile's, then those that were set."""
        declared = tree.get("parameters")
        known: dict[str, Scalar] = {}
        for name, entry in (declared.entries if isinstance(declared, Mapped) else {}).items():
            value = entry.value
            if (slip := slip_of_key(name, entry)) is not None:
                known[slip.key] = Scalar(slip.rest, plain=True, at=entry.key)
            elif isinstance(value, Scalar) and not value.lost:
                known[name] = value
            else:  # a parameter that is not filled in: its declaration is the error
                known[name] = Scalar(f"${name}", plain=True, at=entry.key)
        profiles = tree.get("profiles")
        by_name = profiles.entries if isinstance(profiles, Mapped) else {}
        for name, profile in by_name.items():
            for parameter, entry in profile.value.entries.items() if isinstance(profile.value, Mapped) else ():
                if parameter not in known:
                    self._say_unknown_parameter(parameter, known, entry.key)
                elif name == self.choices.profile and isinstance(entry.value, Scalar):
                    known[parameter] = entry.value
        if self.choices.profile is not None:
            self._require("profile", self.choices.profile, by_name)
        for name, text in self.choices.parameters.items():
            if self._require("parameter", name, known):
                default = known[name]
                plain = not isinstance(default.value, str)
                known[name] = Scalar(text, plain, default.at)
        return known

    def _seeded(self, top: Decoded, known: Mapping[str, Scalar]) -> dict[str, tuple[str | range, ...]]:
        """What the seeded parameters are chosen from; each must be declared, with what it is without a seed."""
        seeded: dict[str, tuple[str | range, ...]] = {}
        for name, given in top.scalars("seeded").items():
            if name not in known:
                self._say_unknown_parameter(name, known, given.at)
            assert isinstance(given.value, tuple)
            seeded[name] = tuple(one.value for one in given.value)
            if not seeded[name] and not self.report.has_errors:
                self.report.say("E016", given.at, ("seeded_form", {}), what=Word("a word or a range"), got="[]")
        return seeded

    def _say_unknown_parameter(self, name: str, known: Mapping[str, object], at: Place) -> None:
        near = nearest(name, known)
        hint = ("declare_parameter", {}) if near is None else ("did_you_mean_one", {"near": near})
        self.report.say("E030", at, hint, name=name)

    def _require(self, kind: str, name: str, known: Mapping[str, object]) -> bool:
        """Whether a chosen name is there; a UsageError is kept for later if it is not."""
        if name in known:
            return True
        near = nearest(name, known)
        names = ", ".join(known) or "none"
        hint = f"did you mean {near}?" if near is not None else f"there are: {names}"
        self.usage.append(UsageError(f"this lab has no {kind} {name!r}", hint=hint))
        return False

    def _chosen(self, tree: Mapped, top: Decoded) -> list[Mapped]:
        """The `adds` to lay over the base, in order: of the chosen checkpoints, then of the chosen variants."""
        chosen = []
        checkpoints = tree.get("checkpoints")
        items = checkpoints.items if isinstance(checkpoints, Sequence) else ()
        for item in items[: self._last(items)]:
            if isinstance(item, Mapped) and isinstance(adds := item.get("adds"), Mapped):
                chosen.append(adds)
        variants = tree.get("variants")
        by_name = variants.entries if isinstance(variants, Mapped) else {}
        for name in self.choices.variants:
            if self._require("variant", name, by_name):
                variant = by_name[name].value
                if isinstance(variant, Mapped) and isinstance(adds := variant.get("adds"), Mapped):
                    chosen.append(adds)
        return chosen

    def _checkpoints(self, top: Decoded, asking: Asking, known: Mapping[str, Scalar]) -> tuple[Checkpoint, ...]:
        records = top.records("checkpoints")
        names = tuple(checkpoint.text("name") or "" for checkpoint in records)
        hidden = self._hidden_checks(names, asking, known)
        return tuple(
            Checkpoint(
                name=name,
                title=_title(checkpoint),
                points=checkpoint.number("points") or 0,
                checks=(*asking.checks(checkpoint, names[number + 1 :]), *hidden.get(name, ()))
                if self.choices.whole
                else (),
            )
            for number, (name, checkpoint) in enumerate(zip(names, records, strict=True))
        )

    def _hidden_checks(
        self, names: tuple[str, ...], asking: Asking, known: Mapping[str, Scalar]
    ) -> dict[str, tuple[Check, ...]]:
        """The checks of a second file, by the checkpoint that they belong to. Raises LabFileError with its errors."""
        if self.hidden is None or self.report.has_errors:
            return {}
        report, top = self._beside(*self.hidden, HIDDEN, known)
        checks: dict[str, tuple[Check, ...]] = {}
        for record in top.records("checkpoints"):
            name = record.text("name") or ""
            if name not in names:
                hint = meant(name, names, "checkpoints")
                report.say(
                    "E014", record.place("name"), hint, kind=Word("checkpoint"), name=name, where=Word("this lab")
                )
            later = names[names.index(name) + 1 :] if name in names else ()
            checks[name] = (*checks.get(name, ()), *asking.told_to(report).checks(record, later, hidden=True))
        if report.has_errors:
            raise LabFileError(report.problems())
        return checks

    def _beside(self, source: bytes, file: str, kind: Record, known: Mapping[str, Scalar]) -> tuple[Report, Decoded]:
        """Another text that is read with the lab's parameters, and the report of what is wrong with it.

        Raises LabFileError where it is no mapping at all.
        """
        text, trouble = decoded(source)
        report = Report(file, text, self.language)
        if trouble is not None:
            code, at, values = trouble
            report.say(code, at, None, **values)
            raise LabFileError(report.problems())
        try:
            tree = tree_of(text, report)
        except Unreadable:
            raise LabFileError(report.problems()) from None
        filled = Filling(known, report, last=False).filled(kind, tree)
        return report, Decoder(report, draft=False).record(kind, filled)

    def _last(self, items: tuple[Tree, ...]) -> int:
        """How many checkpoints count."""
        if self.choices.start:
            return 0
        until = self.choices.until
        if until is None:
            return len(items)
        names = [
            name.text if isinstance(item, Mapped) and isinstance(name := item.get("name"), Scalar) else ""
            for item in items
        ]
        if until in names:
            return names.index(until) + 1
        if until.isdecimal() and 1 <= int(until) <= len(items):
            return int(until)
        self._require("checkpoint", until, {name: None for name in names if name})
        return len(items)

    def _say_unused(self, tree: Mapped, filling: Filling, regions: Regions, top: Decoded) -> None:
        accepted = set(top.texts("accept"))
        for code, part, used in (
            ("N001", "parameters", filling.used),
            ("N002", "templates", regions.used_templates),
        ):
            entries = tree.get(part)
            for name, entry in entries.entries.items() if isinstance(entries, Mapped) else ():
                if name not in used and code not in accepted:
                    self.report.say(code, entry.key, None, name=name)


def _kind(name: str) -> Kind | None:
    option = LAB.options.get(name)
    return None if option is None else option.kind


def _title(record: Decoded) -> dict[str, str]:
    return {language: str(given.value) for language, given in record.scalars("title").items()}
