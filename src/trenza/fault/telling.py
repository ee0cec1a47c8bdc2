"""An outage in words, English and Spanish, and as data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from trenza.fault.outage import Layer, OutageReport, ProbeOutage, Segment, milestone_of
from trenza.theory.outage import Cause, Fate, Note, Prediction

LAYERS: Mapping[Layer, tuple[str, str]] = {
    Layer.LINK: ("link", "enlace"),
    Layer.STP: ("STP", "STP"),
    Layer.VRRP: ("VRRP", "VRRP"),
    Layer.ARP: ("ARP", "ARP"),
    Layer.HEALTH: ("health check", "health check"),
    Layer.SERVICE: ("service", "servicio"),
    Layer.CLUSTER: ("cluster", "clúster"),
    Layer.FAULT: ("the fault itself", "la propia avería"),
    Layer.UNEXPLAINED: ("unexplained", "sin explicar"),
}
_NOTES: Mapping[Note, tuple[str, str]] = {
    Note.STALE_FDB: (
        "a bridge may send to its old port until it hears the address at the new one",
        "un puente puede enviar por su puerto viejo hasta oír la dirección por el nuevo",
    ),
    Note.OTHER_MASTER_MEANWHILE: (
        "another master answers meanwhile; it ends when the first of both does",
        "entretanto responde otro maestro; acaba con el primero de los dos",
    ),
    Note.ADDRESS_STAYS: (
        "the old master's address stays where it is, and may go on answering",
        "la dirección del antiguo maestro se queda, y puede seguir respondiendo",
    ),
    Note.SOME_REQUESTS: (
        "only requests to servers that cannot be reached are lost",
        "solo se pierden las peticiones a servidores inalcanzables",
    ),
    Note.SCRIPTS: (
        "the master tracks a script, whose outcome no state tells",
        "el maestro sigue un script, cuyo resultado ningún estado dice",
    ),
    Note.TWINS: ("two bridges have one id: nothing is certain", "dos puentes tienen el mismo id: nada es seguro"),
}
_TOLD = ("fault", "vrrp", "arp", "haproxy", "service", "stp", "cluster")
_CAUSES: Mapping[Cause, str] = {
    Cause.STP_DIRECT: "STP",
    Cause.STP_INDIRECT: "STP",
    Cause.VRRP: "VRRP",
    Cause.ARP: "ARP",
    Cause.HEALTH_CHECK: "health check",
}


def report_lines(report: OutageReport, language: str = "en") -> list[str]:
    """The timeline for a terminal: seconds count from the fault."""
    return list(_Teller(report, language).lines())


class _Teller:
    def __init__(self, report: OutageReport, language: str) -> None:
        self.report = report
        self.language = language
        self.spanish = language == "es"

    def tr(self, english: str, spanish: str) -> str:
        return spanish if self.spanish else english

    def lines(self) -> Iterator[str]:
        report = self.report
        yield self.tr(f"outage by {report.fault}", f"corte por {report.fault}")
        for outage in report.probes:
            yield ""
            yield from self._probe(outage)
        yield ""
        yield from self._timeline()
        if not report.settled:
            yield ""
            yield self.tr(
                "not all was well and quiet when the deadline came (--deadline gives it longer)",
                "no todo estaba bien y en calma al vencer el plazo (--deadline da más)",
            )

    def _probe(self, outage: ProbeOutage) -> Iterator[str]:
        yield f"{outage.probe}   " + self.tr(
            f"every {outage.probe.interval_s * 1000:g} ms", f"cada {outage.probe.interval_s * 1000:g} ms"
        )
        yield f"  {self._verdict(outage)}"
        if outage.last_good_s is not None and outage.first_good_s is not None:
            last, first = self._at(outage.last_good_s), self._at(outage.first_good_s)
            yield "  " + self.tr(f"last good reply {last}, first again {first}",
                                 f"última respuesta buena {last}, la siguiente {first}")  # fmt: skip
        if outage.intermittent:
            longest = max((end - begin for begin, end in outage.windows if end is not None), default=0.0)
            yield "  " + self.tr(
                f"with good answers in between: {len(outage.windows)} stretches, the longest {_s(longest)}",
                f"con respuestas buenas entremedias: {len(outage.windows)} tramos, el mayor {_s(longest)}",
            )
        for reason, count in sorted(outage.reasons.items(), key=lambda item: -item[1]):
            if reason and reason != "no answer":
                yield f"  {count} × {reason}"
        yield from self._layers(outage)
        yield from self._answers(outage)
        if outage.prediction is not None:
            yield from self._prediction(outage, outage.prediction)

    def _verdict(self, outage: ProbeOutage) -> str:
        if not outage.harmed:
            text = self.tr(f"unharmed: none of {outage.sent} lost", f"ileso: ninguna perdida de {outage.sent}")
            if outage.slowest_s > 10 * outage.probe.interval_s:
                text += self.tr(
                    f"; the slowest took {_s(outage.slowest_s)}", f"; la más lenta tardó {_s(outage.slowest_s)}"
                )
            return text
        share = f"{outage.lost / outage.sent:.0%}" if outage.sent else "?"
        lost = self.tr(
            f"{outage.lost} of {outage.sent} lost ({share})", f"{outage.lost} de {outage.sent} perdidas ({share})"
        )
        seconds = outage.seconds
        if seconds is None:
            return self.tr(f"not back at the end: {lost}", f"no vuelve al final: {lost}")
        exact = f"{_s(seconds)} ± {outage.resolution_s * 1000:g} ms"
        word = self.tr("disturbed for", "perturbado") if outage.intermittent else self.tr("silent for", "mudo")
        return f"{word} {exact}: {lost}"

    def _layers(self, outage: ProbeOutage) -> Iterator[str]:
        for segment in outage.segments:
            name = LAYERS[segment.layer][self.spanish]
            yield f"    {_s(segment.seconds):>9}  {name:<13} {self._end_of(segment)}".rstrip()

    def _end_of(self, segment: Segment) -> str:
        if segment.milestone is None:
            return self.tr("no event tells why", "ningún suceso dice por qué")
        until = self.tr("until", "hasta que")
        said = segment.milestone.event.said(self.language)
        return f"{until} {segment.milestone.node}: {said}".replace(": :", ":")

    def _answers(self, outage: ProbeOutage) -> Iterator[str]:
        names = (self.tr("before", "antes"), self.tr("meanwhile", "entretanto"), self.tr("after", "después"))
        if any(outage.answers):
            for name, answers in zip(names, outage.answers, strict=True):
                if answers:
                    shown = ", ".join(f"{count} × {text}" for text, count in sorted(answers.items()))
                    yield f"    {name}: {shown}"

    def _prediction(self, outage: ProbeOutage, said: Prediction) -> Iterator[str]:
        theory = self.tr("theory", "teoría")
        match said.fate:
            case Fate.UNHARMED:
                yield f"  {theory}: " + self.tr("nothing is lost", "no se pierde nada") + self._judged(outage, said)
            case Fate.LOST:
                yield (
                    f"  {theory}: "
                    + self.tr(f"lost until it is mended: {said.why}", f"perdido hasta que se arregle: {said.why}")
                    + self._judged(outage, said)
                )
            case Fate.LOST_BEFORE:
                yield f"  {theory}: " + self.tr(
                    f"it could not work before: {said.why}", f"ya no podía funcionar: {said.why}"
                )
            case Fate.OUTAGE:
                bounds = self.tr(
                    f"between {_s(said.low_s)} and {_s(said.high_s)}", f"entre {_s(said.low_s)} y {_s(said.high_s)}"
                )
                yield f"  {theory}: {bounds}{self._judged(outage, said)}"
                for number, stage in enumerate(said.stages):
                    for place, part in enumerate(stage):
                        sign = "  " if not number and not place else ("+ " if not place else "| ")
                        at = part.at or part.node
                        yield f"    {sign}{_CAUSES[part.cause]:<12} {at}: {part.formula}"
        for note in said.notes:
            yield f"    {_NOTES[note][self.spanish]}"

    def _judged(self, outage: ProbeOutage, said: Prediction) -> str:
        """Whether what was measured is what theory says; nothing where they cannot be compared."""
        fits = outage.fits
        if fits is None:
            return ""
        if fits:
            return self.tr("; measured within", "; lo medido está dentro") if said.fate is Fate.OUTAGE else ""
        if said.fate is Fate.OUTAGE:
            return self.tr("; measured outside", "; lo medido está fuera")
        return self.tr("; not what was measured", "; no es lo medido")

    def _timeline(self) -> Iterator[str]:
        told = [event for event in self.report.events if event.kind in _TOLD]
        if told:
            yield self.tr("what was told meanwhile", "lo que se contó entretanto")
        for event in told:
            mark = "*" if milestone_of(event) is not None else " "
            yield f"  {self._at(event.time_s):>10} {mark} {event.kind:<8} {event.node:<10} {event.said(self.language)}"

    def _at(self, time_s: float) -> str:
        return f"{time_s - self.report.fault_s:+.3f} s"


def _s(seconds: float) -> str:
    if math.isinf(seconds):
        return "∞"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


# ---------------------------------------------------------------- as data
def report_data(report: OutageReport) -> dict[str, Any]:
    """The report as plain data; times are seconds from the fault."""

    def at(time_s: float | None) -> float | None:
        return None if time_s is None else round(time_s - report.fault_s, 6)

    return {
        "fault": report.fault,
        "fault_time": report.fault_s,
        "seconds": round(report.end_s - report.fault_s, 3),
        "settled": report.settled,
        "probes": [
            {
                "probe": str(outage.probe),
                "kind": outage.probe.kind.value,
                "source": outage.probe.source,
                "interval_s": outage.probe.interval_s,
                "sent": outage.sent,
                "lost": outage.lost,
                "outage_s": None if outage.seconds is None else round(outage.seconds, 6),
                "resolution_s": outage.resolution_s,
                "last_good": at(outage.last_good_s),
                "first_good": at(outage.first_good_s),
                "intermittent": outage.intermittent,
                "windows": [[at(begin), at(end)] for begin, end in outage.windows],
                "segments": [
                    {
                        "layer": one.layer.value,
                        "begin": at(one.begin_s),
                        "end": at(one.end_s),
                        "seconds": round(one.seconds, 6),
                        "until": None if one.milestone is None else f"{one.milestone.node}: {one.milestone.text}",
                    }
                    for one in outage.segments
                ],
                "reasons": dict(outage.reasons),
                "answers": dict(zip(("before", "meanwhile", "after"), map(dict, outage.answers), strict=True)),
                "theory": None if outage.prediction is None else _prediction_data(outage.prediction),
            }
            for outage in report.probes
        ],
        "events": [{**event.as_json(), "at": at(event.time_s)} for event in report.events],
    }


def _prediction_data(said: Prediction) -> dict[str, Any]:
    return {
        "fate": said.fate.value,
        "low_s": None if math.isinf(said.low_s) else said.low_s,
        "high_s": None if math.isinf(said.high_s) else said.high_s,
        "why": said.why,
        "composition": said.composition,
        "parts": [
            {
                "cause": part.cause.value,
                "seconds": None if math.isinf(part.seconds) else part.seconds,
                "node": part.node,
                "at": None if part.at is None else str(part.at),
                "formula": part.formula,
            }
            for part in said.parts
        ],
        "notes": [note.value for note in said.notes],
    }
