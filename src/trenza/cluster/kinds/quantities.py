"""Quantities (`500m`, `1Gi`, `1e3`) as numbers, and in the one spelling that Kubernetes stores.

A quantity is a decimal number with a suffix: n u m, none, k M G T P E (tens), Ki Mi Gi Ti Pi Ei (two to the tens), or
an exponent. Canonical: no fraction, the largest suffix of the same family, at least a nano.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

_FORM = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,3}))?\Z", re.ASCII)
_TENS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_TWOS = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
# Beyond any machine; longer texts are refused before arithmetic gets slow.
_DIGITS = 60

FORM_TEXT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


@lru_cache(maxsize=4096)
def amount_of(text: str) -> Fraction:
    """The number a quantity stands for. Raises ValueError with Kubernetes' words."""
    form = _FORM.match(text) if len(text) <= _DIGITS else None
    if form is None:
        raise ValueError(FORM_TEXT)
    sign, digits, suffix, exponent = form.groups()
    amount = Fraction(digits if not digits.startswith(".") else f"0{digits}")
    if suffix in _TWOS:
        amount *= 2 ** _TWOS[suffix]
    else:
        amount *= Fraction(10) ** (int(exponent) if exponent else _TENS[suffix or ""])
    return -amount if sign == "-" else amount


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """The quantity as Kubernetes stores it: `1000m` is `1`, `0.5` is `500m`, `1024Mi` is `1Gi`."""
    amount = amount_of(text)
    form = _FORM.match(text)
    assert form is not None
    suffix, exponent = form.group(3), form.group(4)
    if amount == 0:
        return "0"
    if suffix in _TWOS and amount.denominator == 1 and abs(amount) >= 1024:
        fitting = [name for name, power in _TWOS.items() if amount % 2**power == 0]
        if fitting:
            return f"{amount / 2 ** _TWOS[fitting[-1]]}{fitting[-1]}"
        return str(amount)
    if exponent is not None and amount.denominator == 1:
        power = max(power for power in range(0, 19, 3) if amount % 10**power == 0)
        return f"{amount / 10**power}e{power}" if power else str(amount)
    for name, power in reversed(_TENS.items()):
        scaled = amount / Fraction(10) ** power
        if scaled.denominator == 1:
            return f"{scaled}{name}"
    nanos = amount * 10**9
    return f"{-(-nanos.numerator // nanos.denominator)}n"  # finer than a nano is rounded up
