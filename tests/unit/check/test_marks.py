"""What findings are worth: weights, gates, partial credit, latches, checks that hold until a later checkpoint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trenza.check.marks import CheckpointMark, Latch, Result, mark, taken_as_passed
from trenza.check.verdict import Finding, Said, Verdict, cannot_tell, failed, passed, same
from trenza.model.checks import Check, Ping
from trenza.model.lab import Checkpoint
from trenza.model.names import NodeName

ASKED = Ping(NodeName("a"), NodeName("b"))
GOOD, BAD, UNKNOWN = passed(same("yes")), failed(same("no")), cannot_tell(same("?"))


def result(finding: Finding, *, weight: float = 1, required: bool = False, until: str | None = None) -> Result:
    return Result(Check(ASKED, weight=weight, required=required, until=until), finding)


def marked(*results: Result, points: float = 60, name: str = "one", latch: Latch | None = None) -> CheckpointMark:
    return mark(Checkpoint(name, points=points, checks=tuple(one.check for one in results)), results, latch)


def test_weights_share_the_points() -> None:
    made = marked(result(GOOD, weight=2), result(BAD), result(UNKNOWN, weight=3))
    assert made.points == 20
    assert [made.points_of(one) for one in made.results] == [20, 0, 0]
    assert [made.max_points_of(one) for one in made.results] == [20, 10, 30]
    assert made.verdict is Verdict.FAIL


def test_seventeen_of_twenty_answers_are_worth_their_share() -> None:
    assert marked(result(failed(same("17 of 20"), credit=17 / 20)), points=20).points == pytest.approx(17)


def test_what_cannot_be_told_earns_nothing_and_does_not_pass() -> None:
    made = marked(result(UNKNOWN))
    assert (made.points, made.verdict) == (0, Verdict.CANNOT_TELL)


def test_without_a_required_check_the_checkpoint_is_worth_nothing() -> None:
    assert marked(result(GOOD), result(GOOD), result(BAD, required=True, weight=0)).points == 0
    assert marked(result(GOOD), result(BAD), result(GOOD, required=True, weight=0)).points == 30


def test_a_checkpoint_that_passed_keeps_its_points() -> None:
    made = marked(result(GOOD), result(BAD), latch=Latch(17.0))
    assert (made.points, made.verdict, made.latched) == (60, Verdict.PASS, Latch(17.0))
    assert sum(made.points_of(one) for one in made.results) == 60


def test_a_check_that_holds_until_a_later_checkpoint_is_taken_as_passed_when_that_one_has() -> None:
    third = marked(result(GOOD), result(BAD, until="fourth"), points=30, name="third")
    passing = marked(result(GOOD), points=15, name="fourth")
    failing = marked(result(BAD), points=15, name="fourth")
    assert [one.points for one in taken_as_passed([third, passing])] == [30, 15]
    assert [one.points for one in taken_as_passed([third, failing])] == [15, 0]


def test_one_taken_as_passed_lets_an_earlier_one_pass() -> None:
    first = marked(result(BAD, until="second"), name="first")
    second = marked(result(BAD, until="third"), name="second")
    third = marked(result(GOOD), name="third")
    assert [one.verdict for one in taken_as_passed([first, second, third])] == [Verdict.PASS] * 3


findings = st.builds(
    lambda verdict, credit: Finding(verdict, Said("", ""), 1.0 if verdict is Verdict.PASS else credit),
    st.sampled_from([Verdict.PASS, Verdict.FAIL]),
    st.floats(0, 0.99),
) | st.just(UNKNOWN)
results = st.builds(
    lambda finding, weight, required: result(finding, weight=weight, required=required),
    findings, st.sampled_from([0, 1, 2, 5]), st.booleans(),
)  # fmt: skip


@given(st.lists(results, min_size=1, max_size=8))
def test_points_stay_between_nothing_and_all_and_the_whole_does_not_depend_on_what_is_up(many: list[Result]) -> None:
    made = marked(*many)
    assert 0 <= made.points <= made.max_points == 60
    if any(one.check.weight for one in many):
        assert sum(made.max_points_of(one) for one in many) == pytest.approx(60)
        assert sum(made.points_of(one) for one in many) == pytest.approx(made.points)


@given(st.lists(results, min_size=1, max_size=6), st.integers(0, 5))
def test_a_better_answer_never_costs_points(many: list[Result], place: int) -> None:
    better = list(many)
    better[place % len(many)] = Result(many[place % len(many)].check, GOOD)
    assert marked(*better).points >= marked(*many).points - 1e-9
