"""An outage as a picture: time for each probe, what its silence waited for, theory's bounds, and what was told."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape as escape_markup

from trenza.fault.outage import Layer, OutageReport, ProbeOutage, milestone_of
from trenza.fault.telling import LAYERS
from trenza.theory.outage import Fate

_WIDTH = 960
_LEFT, _RIGHT = 24, 24
_ROW = 92
_TOP = 64
_MAX_EVENTS = 18
_COLOURS = {
    Layer.LINK: "#7f5539",
    Layer.STP: "#b5651d",
    Layer.VRRP: "#3565c0",
    Layer.ARP: "#7b3fa0",
    Layer.HEALTH: "#0b7a75",
    Layer.SERVICE: "#5f6b1f",
    Layer.CLUSTER: "#1f6f8b",
    Layer.FAULT: "#a61c3c",
    Layer.UNEXPLAINED: "#666666",
}
_STYLE = """
    svg { background: #ffffff; color: #1b1b1b; font: 13px system-ui, sans-serif; }
    text { fill: currentColor; } .small { font-size: 11px; } .title { font-size: 17px; font-weight: 600; }
    .on { fill: #ffffff; font-size: 11px; } .axis { stroke: currentColor; stroke-opacity: .35; }
    .good { fill: #2f8f4e; } .bad { fill: #c22f2f; } .bound { stroke: currentColor; stroke-width: 2; fill: none; }
    .fault { stroke: #c22f2f; stroke-width: 1.5; stroke-dasharray: 5 3; }
    @media (prefers-color-scheme: dark) {
      svg { background: #17191c; color: #ececec; }
      .good { fill: #4fbf72; } .bad { fill: #f06a6a; } .fault { stroke: #f06a6a; }
    }
"""


def escape(text: str) -> str:
    """Text for XML, which has no place for control characters, however marked up (XML 1.0, 2.2)."""
    return escape_markup("".join(one if one.isprintable() else "�" for one in text))


def outage_svg(report: OutageReport, language: str = "en") -> str:
    """A self-contained SVG of the timeline, readable in light and in dark, in the language of messages."""
    return _Picture(report, language).svg()


class _Picture:
    def __init__(self, report: OutageReport, language: str) -> None:
        self.report = report
        self.language = language
        self.spanish = language == "es"
        ends = [one.first_good_s for one in report.probes if one.first_good_s is not None]
        last = max(ends, default=report.fault_s + 1) if all(one.is_over for one in report.probes) else report.end_s
        span = max(last - report.fault_s, 0.5)
        self.begin_s = report.fault_s - 0.06 * span
        self.end_s = last + 0.06 * span

    def tr(self, english: str, spanish: str) -> str:
        return spanish if self.spanish else english

    def x(self, time_s: float) -> float:
        share = (min(max(time_s, self.begin_s), self.end_s) - self.begin_s) / (self.end_s - self.begin_s)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def svg(self) -> str:
        told = [event for event in self.report.events if event.kind == "fault" or milestone_of(event) is not None]
        told = [event for event in told if event.time_s <= self.end_s][:_MAX_EVENTS]
        bottom = _TOP + _ROW * len(self.report.probes)
        height = bottom + 56 + 18 * len(told)
        title = self.tr(f"Outage by {self.report.fault}", f"Corte por {self.report.fault}")
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}"'
            f' height="{height}" aria-labelledby="t d">',
            f'<title id="t">{escape(title)}</title>',
            f'<desc id="d">{escape(self._description())}</desc>',
            f"<style>{_STYLE}</style>",
            self._patterns(),
            f'<text class="title" x="{_LEFT}" y="30">{escape(title)}</text>',
        ]
        x = self.x(self.report.fault_s)
        parts.append(f'<line class="fault" x1="{x}" x2="{x}" y1="{_TOP - 18}" y2="{bottom + 8}"/>')
        for number, outage in enumerate(self.report.probes):
            parts += self._row(outage, _TOP + _ROW * number)
        parts += self._axis(bottom + 8)
        for number, event in enumerate(told):
            y = bottom + 50 + 18 * number
            milestone = milestone_of(event)
            layer = milestone.layer if milestone is not None else Layer.FAULT
            parts.append(f'<rect x="{_LEFT}" y="{y - 10}" width="12" height="12" fill="url(#{layer.name})"/>')
            at = f"{event.time_s - self.report.fault_s:+.3f} s"
            parts.append(f'<text class="small" x="{_LEFT + 78}" y="{y}" text-anchor="end">{at}</text>')
            said = f"{LAYERS[layer][self.spanish]}   {event.node}   {event.said(self.language)}"
            parts.append(f'<text class="small" x="{_LEFT + 90}" y="{y}">{escape(said)}</text>')
        return "\n".join([*parts, "</svg>", ""])

    def _description(self) -> str:
        said = []
        for outage in self.report.probes:
            seconds = outage.seconds
            if not outage.harmed:
                said.append(self.tr(f"{outage.probe}: unharmed", f"{outage.probe}: ileso"))
            elif seconds is None:
                said.append(self.tr(f"{outage.probe}: not back", f"{outage.probe}: no vuelve"))
            else:
                said.append(f"{outage.probe}: {seconds:.2f} s")
        return "; ".join(said)

    @staticmethod
    def _patterns() -> str:
        """Each layer has a hatching of its own beside its colour."""
        drawn = []
        for number, (layer, colour) in enumerate(_COLOURS.items()):
            drawn.append(
                f'<pattern id="{layer.name}" width="9" height="9" patternUnits="userSpaceOnUse"'
                f' patternTransform="rotate({number * 45 % 180})"><rect width="9" height="9" fill="{colour}"/>'
                f'<line x1="0" y1="0" x2="0" y2="9" stroke="#ffffff" stroke-opacity="{0.10 + 0.05 * (number % 4)}"'
                f' stroke-width="{2 + number % 3}"/></pattern>'
            )
        return f"<defs>{''.join(drawn)}</defs>"

    # ------------------------------------------------------------------ one probe
    def _row(self, outage: ProbeOutage, y: int) -> Iterator[str]:
        yield f'<text x="{_LEFT}" y="{y}">{escape(str(outage.probe))}</text>'
        yield f'<text x="{_WIDTH - _RIGHT}" y="{y}" text-anchor="end">{escape(self._verdict(outage))}</text>'
        bar = y + 8
        yield f'<rect class="good" x="{_LEFT}" y="{bar}" width="{_WIDTH - _LEFT - _RIGHT}" height="12" rx="2"/>'
        for begin, end in outage.windows:
            x, width = self.x(begin), max(1.0, self.x(self.end_s if end is None else end) - self.x(begin))
            yield f'<rect class="bad" x="{x}" y="{bar}" width="{width:.1f}" height="12"/>'
        for segment in outage.segments:
            x, width = self.x(segment.begin_s), self.x(segment.end_s) - self.x(segment.begin_s)
            if width < 0.5:
                continue
            yield f'<rect x="{x}" y="{bar + 15}" width="{width:.1f}" height="17" fill="url(#{segment.layer.name})"/>'
            label = f"{LAYERS[segment.layer][self.spanish]} {segment.seconds:.2f} s"
            if width > 6.5 * len(label):
                yield f'<text class="on" x="{x + 5}" y="{bar + 27}">{escape(label)}</text>'
        yield from self._bound(outage, bar + 42)

    def _verdict(self, outage: ProbeOutage) -> str:
        if not outage.harmed:
            return self.tr("unharmed", "ileso")
        seconds = outage.seconds
        lost = self.tr(f"{outage.lost} of {outage.sent} lost", f"{outage.lost} de {outage.sent} perdidas")
        return f"{self.tr('not back', 'no vuelve')}: {lost}" if seconds is None else f"{seconds:.3f} s: {lost}"

    def _bound(self, outage: ProbeOutage, y: int) -> Iterator[str]:
        """Theory's bounds, as a bracket below."""
        said = outage.prediction
        if said is None or said.fate is not Fate.OUTAGE or math.isinf(said.high_s):
            return
        low, high = self.x(self.report.fault_s + said.low_s), self.x(self.report.fault_s + said.high_s)
        yield f'<path class="bound" d="M{low} {y - 5}V{y}H{max(high, low + 1)}V{y - 5}"/>'
        label = self.tr(
            f"theory {said.low_s:.1f} to {said.high_s:.1f} s", f"teoría {said.low_s:.1f} a {said.high_s:.1f} s"
        )
        anchor, at = ("end", low - 6) if low > _WIDTH / 3 else ("start", high + 6)
        if anchor == "start" and high > _WIDTH - 160:
            anchor, at, y = "middle", (low + high) / 2, y + 13
        yield f'<text class="small" x="{at:.1f}" y="{y + 2}" text-anchor="{anchor}">{escape(label)}</text>'

    def _axis(self, y: int) -> Iterator[str]:
        yield f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        span = self.end_s - self.begin_s
        step = next((s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if span / s <= 12), 1200)
        number = math.ceil((self.begin_s - self.report.fault_s) / step)
        while (time_s := self.report.fault_s + number * step) <= self.end_s:
            x = self.x(time_s)
            yield f'<line class="axis" x1="{x}" x2="{x}" y1="{y}" y2="{y + 5}"/>'
            yield f'<text class="small" x="{x}" y="{y + 18}" text-anchor="middle">{number * step:g} s</text>'
            number += 1
