"""Who typed the same, beyond what the exercise makes everybody type."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trenza.grade.similarity import similar_pairs, words

EVERYBODY = (
    "ip link add br0 type bridge", "ip link set br0 up", "ip link set eth0 master br0", "ip link set eth0 up",
    "ip addr add 10.0.0.11/24 dev eth0", "ping -c 3 10.0.0.12",
)  # fmt: skip
ODD = (
    "ip link add veth-foo17 type veth peer name bar-x", "brctl addif br0 veth-foo17", "echo hola > /tmp/prueba33",
    "arping -c 2 -I br0 10.0.0.99", "ip neigh add 10.0.0.77 lladdr 02:00:00:00:77:01 dev br0",
)  # fmt: skip


def own(name: str) -> tuple[str, ...]:
    return (f"touch /root/{name}-notes", f"ip link set {name}if up", f"bridge fdb show br {name}br | grep {name}")


def the_class(**changed: dict[str, tuple[str, ...]]) -> dict[str, dict[str, tuple[str, ...]]]:
    names = ["ana", "bob", "cleo", "dan", "eve", "fay"]
    return {name: {"host1": (*EVERYBODY, *own(name))} for name in names} | changed


def test_what_the_exercise_asks_for_makes_nobody_alike() -> None:
    assert similar_pairs(the_class()) == ()


def test_a_copy_is_found_and_the_lines_that_show_it() -> None:
    copied = (*EVERYBODY, *ODD)
    pairs = similar_pairs(the_class(ana={"host1": copied}, bob={"host1": (*copied, "ls")}))
    (pair,) = pairs
    assert (pair.first, pair.second) == ("ana", "bob")
    assert pair.containment > 0.9 and set(pair.lines) == set(ODD)


def test_blanks_quotes_sudo_and_comments_hide_nothing_and_order_little() -> None:
    disguised = tuple(f"  sudo   {line}   # mine" for line in reversed(ODD))
    (pair,) = similar_pairs(the_class(ana={"host1": (*EVERYBODY, *ODD)}, bob={"host1": (*EVERYBODY, *disguised)}))
    assert set(pair.lines) == set(ODD) and pair.containment > 0.5


def test_lines_with_other_addresses_are_other_lines() -> None:
    others = tuple(line.replace("77", "88").replace("17", "18").replace("33", "44").replace("99", "98") for line in ODD)
    assert not similar_pairs(the_class(ana={"host1": ODD}, bob={"host1": others}))


def test_what_was_handed_out_counts_nothing() -> None:
    both = the_class(ana={"host1": ODD}, bob={"host1": ODD})
    assert similar_pairs(both) and not similar_pairs(both, given=ODD)


def test_files_that_editors_wrote_count_too() -> None:
    config = {
        "host1:/etc/keepalived/keepalived.conf": tuple(f"virtual_ipaddress {n} {{ 172.16.{n}.7 }}" for n in range(9))
    }
    (pair,) = similar_pairs(the_class(ana=config, bob=config))
    assert pair.jaccard == 1


def test_two_students_alone_are_compared_as_they_are() -> None:
    assert similar_pairs({"ana": {"h": ODD}, "bob": {"h": ODD}})[0].jaccard == 1
    assert not similar_pairs({"ana": {"h": ODD}})
    assert not similar_pairs({"ana": {}, "bob": {"h": ()}})


def test_words_keep_addresses_and_names_whole() -> None:
    assert words("sudo ip addr add 10.0.0.1/24 dev eth0.5 # x") == ("ip", "addr", "add", "10.0.0.1/24", "dev", "eth0.5")
    assert words("cat a|grep 'b'") == ("cat", "a", "|", "grep", "b")


@given(st.lists(st.text(max_size=40), max_size=20), st.lists(st.text(max_size=40), max_size=20))
def test_whatever_was_typed_shares_are_shares(one: list[str], other: list[str]) -> None:
    for pair in similar_pairs({"ana": {"h": one}, "bob": {"h": other}}):
        assert 0 < pair.jaccard <= pair.containment <= 1
