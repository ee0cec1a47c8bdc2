"""Settings travel as JSON, frames are put in order, and expressions become programs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trenza.errors import MachineError, UsageError
from trenza.linux.capture import Settings, Source, command
from trenza.linux.capture_filter import Instruction, compiled
from trenza.linux.capture_order import Ordering
from trenza.model.names import NicName, NodeName

SETTINGS = Settings(
    (Source(7, NodeName("host1/c1"), NicName("eth0")), Source(8, NodeName("lan"))),
    output=9, pcapng=True, expression="icmp or 'ñ'", max_frames=3, max_s=1.5, control=5, ready=6, comment="lab x",
)  # fmt: skip


def test_settings_come_back_from_json() -> None:
    assert Settings.from_json(SETTINGS.to_json()) == SETTINGS


def test_a_command_passes_on_what_its_settings_name() -> None:
    argv, descriptors = command(SETTINGS)
    assert argv[0] == sys.executable
    assert Settings.from_json(argv[-1]) == SETTINGS
    assert descriptors == (5, 6, 7, 8, 9)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(()),
        Settings(SETTINGS.sources, snaplen_bytes=0),
        Settings(SETTINGS.sources, max_frames=0),
        Settings(SETTINGS.sources, max_s=float("nan")),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: Settings) -> None:
    with pytest.raises(UsageError):
        command(settings)


@given(st.lists(st.integers(0, 100)))
def test_items_read_within_the_time_held_come_out_in_order(stamps: list[int]) -> None:
    ordering: Ordering[int] = Ordering(held_s=1)
    for stamp in stamps:
        ordering.push(stamp, 10.0, stamp)
    assert list(ordering.ready(10.5)) == []
    assert list(ordering.ready(11.0)) == sorted(stamps)
    assert ordering.wait_s(11.0) is None


def test_a_stamp_from_the_future_is_not_held_longer() -> None:
    ordering: Ordering[str] = Ordering(held_s=1)
    ordering.push(10**18, 5.0, "future")
    assert ordering.wait_s(5.25) == 0.75
    assert list(ordering.ready(6.0)) == ["future"]


def test_no_more_is_held_than_allowed() -> None:
    ordering: Ordering[int] = Ordering(held_s=1, max_held=2)
    for stamp in (3, 1, 2):
        ordering.push(stamp, 0.0, stamp)
    assert list(ordering.ready(0.0)) == [1]
    assert list(ordering.rest()) == [2, 3]


def test_no_expression_accepts_every_frame_up_to_the_snap_length() -> None:
    assert compiled("  ", 96) == (Instruction(6, 0, 0, 96),)


def test_an_expression_is_tcpdumps() -> None:
    program = compiled("arp", 96)
    assert program[0] == Instruction(40, 0, 0, 12)
    assert {one.k for one in program if one.code == 6} == {0, 96}


@pytest.mark.parametrize("expression", ["frob 3", "icmp and (", "-w /tmp/never", "-r /etc/passwd", "icmp\0"])
def test_an_expression_that_tcpdump_refuses_is_a_usage_error(expression: str) -> None:
    with pytest.raises(UsageError, match="bad capture filter"):
        compiled(expression)


def test_a_machine_without_tcpdump_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(MachineError) as raised:
        compiled("arp", search_path=str(tmp_path))
    assert raised.value.hint == "install the package tcpdump"
    assert raised.value.exit_code == 3
