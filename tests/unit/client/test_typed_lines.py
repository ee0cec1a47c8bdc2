"""Which typed lines are done again, and in which shell."""

from __future__ import annotations

import pytest

from trenza.client.archive import SavedCommand
from trenza.client.typed_lines import Skipped, Way, steps, why_skipped, with_pids


def typed(
    line: str, began: float = 0, ended: float = 0, shell: str = "1.1", session: str = "s", **more: object
) -> SavedCommand:
    status = more.pop("status", 0)
    return SavedCommand("h1", line, status, began, ended or began, session, shell, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("vi /etc/hosts", Skipped.EDITOR),
        ("sudo nano x", Skipped.EDITOR),
        ("/usr/bin/vim", Skipped.EDITOR),
        ("ip a | less", None),
        ("less /etc/passwd", Skipped.PAGER),
        ("ping 10.0.0.1", Skipped.ENDLESS),
        ("ping -c 3 10.0.0.1", None),
        ("ping -nc3 10.0.0.1", None),
        ("ping -c 1 a && ping b", None),
        ("ip netns exec c1 ping 10.0.0.1", Skipped.ENDLESS),
        ("tcpdump -ni eth0", Skipped.ENDLESS),
        ("tcpdump -ni eth0 -c 5", None),
        ("tcpdump -r x.pcap", None),
        ("tail -f /var/log/messages", Skipped.ENDLESS),
        ("tail -n 3 /var/log/messages", None),
        ("watch brctl showmacs br0", Skipped.ENDLESS),
        ("ip monitor", Skipped.ENDLESS),
        ("A=1 top", Skipped.ENDLESS),
        ("exit", Skipped.LEAVES),
        ("cd /etc; vi hosts", None),
        ("echo 'unclosed", None),
        ("", None),
    ],
)
def test_lines_that_wait_or_never_end_are_skipped(line: str, reason: Skipped | None) -> None:
    assert why_skipped(typed(line)) is reason


def test_what_was_interrupted_or_cut_is_skipped() -> None:
    assert why_skipped(typed("sleep 100", status=130)) is Skipped.INTERRUPTED
    assert why_skipped(typed("cat > x <<E", cut=True)) is Skipped.CUT
    assert why_skipped(typed("vi x\nls\n", shell="", stdin=True)) is None


def test_lines_typed_while_another_ran_belong_to_the_shell_that_it_started() -> None:
    commands = [
        typed("ip netns exec deep bash", 2, 6),
        typed("cd /", 1),
        typed("ls", 3, shell="2.9"),
        typed("bash", 3.5, 5, shell="2.9"),
        typed("pwd", 4, shell="3.10"),
        typed("after", 7),
    ]
    assert [(step.command.line, step.way, step.depth) for step in steps(commands)] == [
        ("cd /", Way.RUN, 0),
        ("ip netns exec deep bash", Way.ENTER, 0),
        ("ls", Way.RUN, 1),
        ("bash", Way.ENTER, 1),
        ("pwd", Way.RUN, 2),
        ("after", Way.RUN, 0),
    ]


def test_a_shell_that_exec_started_is_not_started_twice() -> None:
    commands = [typed("bash", 1, 5, shell=""), typed("ls", 2), typed("other", 3, session="t", shell="")]
    assert [step.command.line for step in steps(commands)] == ["ls", "other"]


def test_what_still_ran_is_left_running() -> None:
    commands = [typed("haproxy -f x", 1, status=None), typed("sleep 9", 2, session="t", shell="", status=None)]
    assert [step.way for step in steps(commands)] == [Way.LEAVE, Way.LEAVE]


def test_pids_are_those_of_now() -> None:
    line = "ip link set v netns 31 && cat /proc/31/status 310 3.31"
    assert with_pids(line, {"31": "h1/c1"}, {"h1/c1": 77}) == "ip link set v netns 77 && cat /proc/77/status 310 3.31"
    assert with_pids(line, {"31": "h1/c1"}, {"h1/c1": None}) == line
