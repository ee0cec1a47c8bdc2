"""What theory says of spanning trees, in sentences for a student, English and Spanish."""

from __future__ import annotations

from trenza.theory.spanning_tree import Reason, Tie

_LOWER = {
    Tie.ROOT: ("lower bridge id", "menor id de puente"),
    Tie.COST: ("lower root path cost", "menor coste hasta la raíz"),
    Tie.BRIDGE: ("equal cost, lower bridge id", "a igual coste, menor id de puente"),
    Tie.PORT: ("same bridge, lower id of its port", "mismo puente, menor id de su puerto"),
    Tie.OWN_PORT: ("same segment, lower id of the own port", "mismo segmento, menor id del puerto propio"),
}
_ORDER = (
    "; priorities are equal: the port that joined first", "; a igual prioridad, el puerto que se unió antes"
)  # fmt: skip
_GUESSED = (
    "; priorities are equal: whichever port joined first", "; a igual prioridad, el que se uniera antes"
)  # fmt: skip


def tie_text(reason: Reason, language: str = "en") -> str:
    """What decided, with both values: `lower root path cost (2 < 4) than swout1.eth2`."""
    spanish = language == "es"
    if reason.tie is Tie.ONLY:
        return "sin competencia" if spanish else "nobody competes"
    text = f"{_LOWER[reason.tie][spanish]} ({reason.won} < {reason.lost})"
    if reason.over is not None:
        text += f" {'que' if spanish else 'than'} {reason.over}"
    if reason.by_number:
        text += (_GUESSED if reason.guessed else _ORDER)[spanish]
    return text


def port_text(role: str, for_root: Reason | None, for_segment: Reason | None, language: str = "en") -> str:
    """Why a port has its role; nothing for a port that is disabled or has no part in STP."""
    spanish = language == "es"
    match role:
        case "root" if for_root is not None:
            if for_root.tie is Tie.ONLY:
                return "el único que oye a la raíz" if spanish else "the only port that hears the root"
            return tie_text(for_root, language)
        case "designated" if for_segment is not None:
            if for_segment.tie is Tie.ONLY:
                return "no hay otro puente en el segmento" if spanish else "no other bridge on the segment"
            return tie_text(for_segment, language)
        case "alternate" | "backup" if for_segment is not None:
            there = tie_text(for_segment, language)
            designated = f"designado {for_segment.winner}" if spanish else f"designated is {for_segment.winner}"
            text = f"{designated}: {there}"
            if for_root is not None and role == "alternate":
                chosen = f"puerto raíz {for_root.winner.nic}" if spanish else f"root port is {for_root.winner.nic}"
                text += f"; {chosen}: {tie_text(for_root, language)}"
            return text
        case _:
            return ""
