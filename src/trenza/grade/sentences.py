"""What a mark is told as, to a student and to her teacher, in English and Spanish."""

from __future__ import annotations

from collections.abc import Mapping

from trenza.grade.items import Flag
from trenza.grade.marks import CheckMark, Outcome, Result, Verdict

VERDICTS: Mapping[Verdict, tuple[str, str]] = {
    Verdict.PASS: ("passed", "superado"),
    Verdict.FAIL: ("failed", "no superado"),
    Verdict.CANNOT_TELL: ("cannot tell", "no se sabe"),
    Verdict.SKIPPED: ("skipped", "omitido"),
}
OUTCOMES: Mapping[Outcome, tuple[str, str]] = {
    Outcome.GRADED: ("graded", "calificado"),
    Outcome.ABSENT: ("not handed in", "no entregado"),
    Outcome.REFUSED: ("the submission cannot be used", "la entrega no se puede usar"),
    Outcome.ENDED: ("did not come to an end", "no llegó a terminar"),
    Outcome.UNGRADED: ("not graded", "sin calificar"),
}
FLAGS: Mapping[Flag, tuple[str, str]] = {
    Flag.NOBODY: ("nobody passes", "nadie lo supera"),
    Flag.EVERYBODY: ("everybody passes", "todos lo superan"),
    Flag.NEGATIVE: ("negative discrimination", "discriminación negativa"),
    Flag.CANNOT_TELL: ("often cannot tell", "a menudo no se sabe"),
}


def in_language(language: str, english: str, spanish: str) -> str:
    return spanish if language == "es" else english


def titled(title: Mapping[str, str], language: str, otherwise: str) -> str:
    """A title in the language that is wanted, in the other one, or something else."""
    return title.get(language) or next(iter(title.values()), "") or otherwise


def number(value: float | None) -> str:
    """Points as people write them: at most two places, none where there is nothing behind the point."""
    return "–" if value is None else f"{round(value, 2):g}"


def outcome_sentence(result: Result, language: str) -> str:
    """What became of a submission that has no checked mark, and why."""
    said = in_language(language, *OUTCOMES[result.outcome])
    return f"{said}: {result.reason}" if result.reason else said


def check_sentence(check: CheckMark) -> str:
    """What was found, what is the first thing wrong, and what to look at."""
    return ". ".join(dict.fromkeys(part for part in (check.said, check.because, check.hint) if part))


def feedback(result: Result, max_points: float, language: str) -> str:
    """What a student reads beside her mark. Of hidden checks she is told the points, and nothing else."""
    if result.outcome is Outcome.UNGRADED:  # why is for the teacher
        return in_language(language, *OUTCOMES[result.outcome])
    if result.checked is None or result.outcome is not Outcome.GRADED:
        return outcome_sentence(result, language)
    of = in_language(language, "of", "de")
    parts = [f"{number(result.points)} {of} {number(max_points)}"]
    for checkpoint in result.checked.checkpoints:
        if checkpoint.hidden:
            continue
        title = titled(checkpoint.title, language, checkpoint.name)
        shown = [check for check in checkpoint.checks if not check.hidden]
        wrong = [f"{check.title}: {check_sentence(check)}" for check in shown if check.verdict is not Verdict.PASS]
        points = sum(check.points for check in shown)
        max_shown = sum(check.max_points for check in shown)
        parts.append("\n".join([f"{title}: {number(points)} {of} {number(max_shown)}", *(f"- {one}" for one in wrong)]))
    hidden = [check for check in result.checked.checks if check.hidden]
    if hidden:
        label = in_language(language, "Hidden checks", "Comprobaciones ocultas")
        points, most = sum(check.points for check in hidden), sum(check.max_points for check in hidden)
        parts.append(f"{label}: {number(points)} {of} {number(most)}")
    return "\n".join(parts)
