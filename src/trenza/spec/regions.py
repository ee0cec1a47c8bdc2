"""Regions: the parts of a file that describe nodes (the base, each `adds`), with their copies and templates."""

from __future__ import annotations

from collections.abc import Mapping

from trenza.spec.format import ADDS, CONTAINER, HOST, LAB, SWITCH
from trenza.spec.forms import MAX_COPIES
from trenza.spec.kinds import Record, Wrong
from trenza.spec.merge import merged, written_out
from trenza.spec.parameters import COPY, Filling
from trenza.spec.report import Report, Word, meant
from trenza.spec.tree import Entry, Mapped, Place, Scalar, Sequence, Tree

REGION = ("hosts", "switches", "cables", "cluster")


class Regions:
    """Expands regions one after the other; later ones know which nodes the earlier ones copied."""

    def __init__(self, templates: Mapping[str, Entry], report: Report) -> None:
        self.templates = templates
        self.report = report
        self.used_templates: set[str] = set()
        self._each: dict[tuple[str, str], Tree] = {}
        self._laid: dict[str, Mapped] = {}
        self._copies = 0

    def expanded(self, region: Mapped) -> Mapped:
        """A region (base or `adds`) in which no `each` and no `use` is left."""
        entries = {name: entry for name, entry in region.entries.items() if name in REGION}
        for name, kind in (("hosts", HOST), ("switches", SWITCH)):
            if name in entries:
                nodes = written_out(ADDS.options[name].kind, entries[name].value)
                if isinstance(nodes, Mapped):
                    entries[name] = Entry(entries[name].key, self._nodes(nodes, kind, name))
        return Mapped(entries, region.at)

    def _nodes(self, nodes: Mapped, kind: Record, where: str) -> Mapped:
        entries: dict[str, Entry] = {}
        for name, entry in nodes.entries.items():
            node = written_out(kind, entry.value)
            if not isinstance(node, Mapped):
                entries[name] = entry  # removed by null, or said to be wrong when decoded
                continue
            if kind is not SWITCH:
                node = self._with_templates(node, kind)
            for copy_name, item in self._copies_of(name, node, where, entry.key):
                copy = node.without("each") if "each" in node.entries else node
                filling = Filling({} if item is None else {COPY: item}, self.report, last=True)
                filled = filling.filled(kind, copy)
                assert isinstance(filled, Mapped)
                if kind is HOST and "containers" in filled.entries:
                    filled = self._with_containers(filled, f"{where}/{name}")
                if copy_name in entries:
                    line = entries[copy_name].key.line
                    self.report.say("E023", entry.key, None, name=copy_name, line=line)
                else:
                    entries[copy_name] = Entry(entry.key, filled)
        return Mapped(entries, nodes.at)

    def _with_containers(self, host: Mapped, where: str) -> Mapped:
        containers = host.entries["containers"]
        nodes = written_out(HOST.options["containers"].kind, containers.value)
        if not isinstance(nodes, Mapped):
            return host
        expanded = self._nodes(nodes, CONTAINER, where)
        return Mapped({**host.entries, "containers": Entry(containers.key, expanded)}, host.at)

    def _copies_of(self, name: str, node: Mapped, where: str, at: Place) -> list[tuple[str, Scalar | None]]:
        """The names of a node's copies with what `$n` is in each; the node itself where it has no `each`."""
        each = node.get("each")
        if each is None:
            each = self._each.get((where, name))
        else:
            self._each[where, name] = each
        if each is None or (isinstance(each, Scalar) and each.is_null):
            return [(name, None)]
        items: list[Scalar] = []
        for item in each.items if isinstance(each, Sequence) else (each,):
            if not isinstance(item, Scalar) or item.lost:
                continue  # said to be wrong when decoded
            try:
                parsed = SWITCH.options["each"].kind.of.parse(item)  # type: ignore[union-attr]  # a Many of a Form
                assert isinstance(parsed, tuple)
                items.extend(parsed)
            except Wrong as wrong:
                self.report.say(wrong.code, item.at, wrong.hint, **wrong.values)
        self._copies += len(items)
        if self._copies > MAX_COPIES:
            self.report.say("E033", each.at, None, most=MAX_COPIES)
            return []
        return [(f"{name}{item.text}", item) for item in items]

    def _with_templates(self, node: Mapped, kind: Record, below: tuple[str, ...] = ()) -> Mapped:
        """The node laid over the templates it uses."""
        use = node.get("use")
        if use is None:
            return node
        own = node.without("use")
        under: Mapped | None = None
        for name in use.items if isinstance(use, Sequence) else (use,):
            if not isinstance(name, Scalar) or name.is_null or name.lost:
                continue  # said to be wrong when decoded
            template = self._template(name, kind, below)
            if template is not None:
                under = template if under is None else _laid_over(kind, under, template)
        return own if under is None else _laid_over(kind, under, own)

    def _template(self, name: Scalar, kind: Record, below: tuple[str, ...]) -> Mapped | None:
        if name.text in below:
            self.report.say("E035", name.at, None, name=name.text)
            return None
        if (entry := self.templates.get(name.text)) is None:
            hint = meant(name.text, self.templates, "templates")
            self.report.say("E014", name.at, hint, kind=Word("template"), name=name.text, where=Word("this lab"))
            return None
        self.used_templates.add(name.text)
        template = entry.value
        if not isinstance(template, Mapped):
            return None  # said to be wrong when decoded
        if name.text not in self._laid:
            self._laid[name.text] = self._with_templates(template, kind, (*below, name.text))
        return self._laid[name.text]


def _laid_over(kind: Record, under: Mapped, over: Mapped) -> Mapped:
    tree = merged(kind, under, over)
    assert isinstance(tree, Mapped)
    return tree


def base_of(lab: Mapped) -> Mapped:
    """The region that the lab file's own top level is."""
    return Mapped({name: lab.entries[name] for name in REGION if name in lab.entries and name in LAB.options}, lab.at)
