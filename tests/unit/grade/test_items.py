"""What a class's credits say about its checks."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trenza.grade.items import Flag, Item, correlation, items
from trenza.grade.marks import Checked

from .classes import check, checked


def of(*rows: list[float]) -> tuple[Item, ...]:
    return items([Checked.of(checked(*(check(n, credit) for n, credit in enumerate(row, 1)))) for row in rows])


def test_a_check_is_as_difficult_as_its_credits_are_few() -> None:
    first, second = of([1, 0.5], [1, 0], [0, 0], [1, 0.5])
    assert (first.difficulty, second.difficulty) == (0.75, 0.25)
    assert first.students == 4 and first.check.id == "bridged/1"


def test_discrimination_is_the_correlation_with_all_other_checks() -> None:
    good, bad, _ = of([1, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 0], [0, 1, 0], [0, 1, 0.5])
    assert good.discrimination is not None and bad.discrimination is not None
    assert good.discrimination == pytest.approx(correlation([1, 1, 1, 0, 0, 0], [10, 10, 20, 10, 10, 15]))
    assert bad.discrimination < -0.5 and Flag.NEGATIVE in bad.flags and Flag.NEGATIVE not in good.flags


def test_few_students_and_what_does_not_vary_discriminate_nothing() -> None:
    assert all(item.discrimination is None for item in of([1, 0], [0, 1]))
    assert all(item.discrimination is None for item in of(*[[1.0, 0.0]] * 6))


def test_flags_name_what_is_to_be_looked_at() -> None:
    everybody, nobody = of(*[[1.0, 0.0]] * 6)
    assert everybody.flags == (Flag.EVERYBODY,) and nobody.flags == (Flag.NOBODY,)
    untold = items([Checked.of(checked(check(1, 0, verdict="cannot-tell" if n == 0 else "pass"))) for n in range(5)])
    assert untold[0].cannot_tell == 0.2 and Flag.CANNOT_TELL in untold[0].flags


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 100)), min_size=2, max_size=30))
def test_a_correlation_lies_between_minus_one_and_one_and_knows_no_order(pairs: list[tuple[float, float]]) -> None:
    found = correlation([x for x, _ in pairs], [y for _, y in pairs])
    turned = correlation([y for _, y in pairs], [x for x, _ in pairs])
    assert (found is None) == (turned is None)
    if found is not None and turned is not None:
        assert -1 - 1e-9 <= found <= 1 + 1e-9 and found == pytest.approx(turned)


def test_the_point_biserial_coefficient_of_a_textbook() -> None:
    credits_of_item, rest = [1, 1, 0, 0], [9.0, 7.0, 5.0, 3.0]
    mean_passed, mean_failed, spread = 8.0, 4.0, sqrt(5)
    assert correlation(credits_of_item, rest) == pytest.approx((mean_passed - mean_failed) / spread * sqrt(0.25))
