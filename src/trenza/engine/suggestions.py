"""Did you mean: the nearest of what there is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def suggest(name: str, candidates: Iterable[str], everything: Sequence[str]) -> str:
    """`did you mean …?`, or what there is."""
    close = difflib.get_close_matches(name, list(dict.fromkeys(candidates)), n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    shown = ", ".join(everything[:20]) + (", …" if len(everything) > 20 else "")
    return f"there are: {shown}" if everything else "there are none"
