"""What is said on the wire and what is read from it; garbage is nothing, or the one error that is documented."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from trenza.errors import UsageError
from trenza.fault.probes import echo_reply_sequence, echo_request, internet_checksum
from trenza.linux.asking.dhcp_message import DhcpOffer, discover_message, read_offer
from trenza.linux.asking.dns_message import question, read_message
from trenza.linux.asking.http_message import MAX_BODY_BYTES, NotHttpError, read_answer, request
from trenza.linux.asking.icmp import (
    RECORD_ROUTE_OPTION,
    Blamed,
    IcmpError,
    read_echo_reply,
    read_error,
    recorded_route,
)
from trenza.linux.asking.link_frames import Claim, read_claim, read_udp, udp_broadcast, who_has
from trenza.model.names import Mac

NONCE = b"8 bytes!"
ROUTER = IPv4Address("10.0.0.1")
MAC = bytes.fromhex("020000000001")
TRANSACTION = 0x12345678


def ipv4(payload: bytes, *, options: bytes = b"", protocol: int = 1, ttl: int = 61) -> bytes:
    length = 20 + len(options)
    header = struct.pack("!BBHHHBBH", 0x40 | length // 4, 0, length + len(payload), 0, 0, ttl, protocol, 0)
    return header + ROUTER.packed + IPv4Address("10.0.0.9").packed + options + payload


def ipv6(payload: bytes, *, following: int = 58) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(payload), following, 61) + bytes(32) + payload


def answer_to(version: int, request_bytes: bytes) -> bytes:
    return bytes((0 if version == 4 else 129,)) + request_bytes[1:]


@pytest.mark.parametrize("size_bytes", [20, 21, 1472, 65507])
def test_a_request_of_any_size_has_a_checksum_that_is_right(size_bytes: int) -> None:
    packet = echo_request(4, 7, 65536 + 3, NONCE, size_bytes=size_bytes)
    assert len(packet) == size_bytes
    assert internet_checksum(packet) == 0
    assert echo_reply_sequence(4, ipv4(answer_to(4, packet)), NONCE) == 65536 + 3


def test_a_reply_says_what_was_left_of_its_ttl_and_which_way_it_came() -> None:
    filled = bytes((1, 7, 39, 12)) + ROUTER.packed + bytes((10, 0, 0, 2)) + bytes(28)
    assert len(filled) == len(RECORD_ROUTE_OPTION) == 40
    reply = read_echo_reply(4, ipv4(answer_to(4, echo_request(4, 7, 3, NONCE)), options=filled))
    assert reply is not None
    assert (reply.identifier, reply.sequence, reply.ttl) == (7, 3, 61)
    assert reply.route == (ROUTER, IPv4Address("10.0.0.2"))
    plain = read_echo_reply(6, answer_to(6, echo_request(6, 7, 3, NONCE)))
    assert plain is not None
    assert (plain.sequence, plain.ttl, plain.route) == (3, None, None)


@pytest.mark.parametrize(
    ("options", "route"),
    [
        (b"", None),
        (RECORD_ROUTE_OPTION, ()),
        (bytes((7, 39, 40)) + bytes(range(36)), tuple(IPv4Address(bytes(range(n, n + 4))) for n in range(0, 36, 4))),
        (bytes((7, 7, 255)) + ROUTER.packed + b"\0", (ROUTER,)),
        (bytes((0, 7, 7, 8)) + ROUTER.packed, None),
        (bytes((68, 4, 0, 0, 7, 7, 8)) + ROUTER.packed + b"\0", (ROUTER,)),
        (bytes((7,)), None),
        (bytes((7, 2, 0, 0)), None),
        (bytes((7, 39, 8)), None),
        (bytes((7, 0)), None),
        (bytes((7, 7, 0)) + ROUTER.packed, ()),
    ],
)
def test_a_recorded_route_is_read_as_far_as_it_was_filled(
    options: bytes, route: tuple[IPv4Address, ...] | None
) -> None:
    assert recorded_route(options) == route


def test_an_error_is_about_the_request_that_it_quotes() -> None:
    asked = echo_request(4, 7, 3, NONCE)
    too_big = struct.pack("!BBHHH", 3, 4, 0, 0, 1400) + ipv4(asked, options=RECORD_ROUTE_OPTION)
    assert read_error(4, ipv4(too_big), ROUTER) == Blamed(IcmpError(ROUTER, 3, 4, 1400), 7, 3)
    expired = struct.pack("!BBHHH", 11, 0, 0, 0, 0) + ipv4(asked)[:28]
    assert read_error(4, ipv4(expired), ROUTER) == Blamed(IcmpError(ROUTER, 11, 0), 7, 3)
    assert read_error(4, ipv4(expired[:-1]), ROUTER) is None
    assert read_error(4, ipv4(struct.pack("!BBHHH", 11, 0, 0, 0, 0) + ipv4(asked, protocol=17)), ROUTER) is None
    sender = IPv6Address("fd00::1")
    asked = echo_request(6, 7, 3, NONCE)
    big = struct.pack("!BBHI", 2, 0, 0, 1280)
    assert read_error(6, big + ipv6(asked), sender) == Blamed(IcmpError(sender, 2, 0, 1280), 7, 3)
    fragment = ipv6(bytes((58, 0, 0, 1)) + bytes(4) + asked, following=44)
    assert read_error(6, big + fragment, sender) == Blamed(IcmpError(sender, 2, 0, 1280), 7, 3)


def test_a_question_about_an_address_and_the_answers_to_it() -> None:
    frame = who_has(ROUTER, MAC, None)
    assert frame[:14] == b"\xff" * 6 + MAC + b"\x08\x06"
    assert frame[28:32] == bytes(4)  # a probe: nobody's table changes
    assert read_claim(frame) is None
    reply = bytearray(who_has(IPv4Address("10.0.0.9"), MAC, ROUTER))
    reply[21] = 2
    assert read_claim(bytes(reply)) == Claim(ROUTER, Mac("02:00:00:00:00:01"))
    target = IPv6Address("fd00::1:2:3")
    asked = who_has(target, MAC, IPv6Address("fd00::9"))
    assert asked[:6] == bytes.fromhex("3333ff020003")
    pseudo_header = asked[22:54] + struct.pack("!II", len(asked) - 54, 58)
    assert internet_checksum(pseudo_header + asked[54:]) == 0
    advertisement = bytearray(asked)
    advertisement[54], advertisement[78] = 136, 2
    assert read_claim(bytes(advertisement)) == Claim(target, Mac("02:00:00:00:00:01"))
    advertisement[21] = 64  # came from beyond a router
    assert read_claim(bytes(advertisement)) is None


def offered(options: bytes, *, transaction: int = TRANSACTION, mac: bytes = MAC) -> bytes:
    asked = bytearray(discover_message(transaction, mac)[:240])
    asked[0] = 2
    asked[16:20] = bytes((10, 0, 0, 100))
    return bytes(asked) + options


def test_a_discover_is_broadcast_by_nobody_and_wants_to_be_answered_so() -> None:
    frame = udp_broadcast(MAC, 68, 67, discover_message(TRANSACTION, MAC))
    assert internet_checksum(frame[14:34]) == 0
    read = read_udp(frame, 67)
    assert read is not None
    sender, payload = read
    assert sender == IPv4Address("0.0.0.0")
    assert payload[4:8] == struct.pack("!I", TRANSACTION)
    assert payload[10] & 0x80
    assert payload[28:34] == MAC
    assert bytes((53, 1, 1)) in payload[240:]
    assert read_udp(frame, 68) is None
    assert read_udp(frame[:-1], 67) is None


def test_an_offer_says_what_would_be_leased() -> None:
    options = bytes.fromhex("350102 3604 0a000001 0104 ffffff00 0304 0a0000fe 0608 0a000035 0a000036 3304 00000e10 ff")
    assert read_offer(offered(options), TRANSACTION, MAC, ROUTER) == DhcpOffer(
        IPv4Address("10.0.0.100"),
        ROUTER,
        IPv4Address("255.255.255.0"),
        IPv4Address("10.0.0.254"),
        (IPv4Address("10.0.0.53"), IPv4Address("10.0.0.54")),
        3600,
    )
    bare = read_offer(offered(bytes((0, 53, 1, 2))), TRANSACTION, MAC, ROUTER)
    assert bare == DhcpOffer(IPv4Address("10.0.0.100"), ROUTER, None, None, (), None)
    assert read_offer(offered(bytes((53, 1, 5))), TRANSACTION, MAC, ROUTER) is None  # an ACK
    assert read_offer(offered(options, transaction=1), TRANSACTION, MAC, ROUTER) is None
    assert read_offer(offered(options, mac=b"\x02" * 6), TRANSACTION, MAC, ROUTER) is None
    assert read_offer(offered(bytes((53, 200))), TRANSACTION, MAC, ROUTER) is None


ANSWERS = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi, and more": (200, "OK", b"hi"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n1\r\n!\r\n0\r\n\r\n": (200, "OK", b"hi!"),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n": (404, "Not Found", b""),
    b"HTTP/1.1 204\r\nX: y\r\n\r\n": (204, "", b""),
}


@pytest.mark.parametrize("data", ANSWERS)
def test_an_answer_is_read_once_it_is_whole(data: bytes) -> None:
    answer = read_answer(data, ended=False)
    assert answer is not None
    assert (answer.status, answer.reason, answer.body) == ANSWERS[data]
    first_whole = next(at for at in range(len(data) + 1) if read_answer(data[:at], ended=False) is not None)
    assert all(read_answer(data[:at], ended=False) is None for at in range(first_whole))


def test_an_answer_without_a_length_ends_with_the_connection_or_where_it_is_cut() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-One: 1\r\nX-One: 2\r\n\r\n"
    assert read_answer(head + b"hello", ended=False) is None
    answer = read_answer(head + b"hello", ended=True)
    assert answer is not None
    assert answer.body == b"hello"
    assert answer.headers == (("x-one", "1"), ("x-one", "2"))
    assert answer.find_header("x-one") == "1"
    long = read_answer(head + b"x" * (MAX_BODY_BYTES + 1), ended=False)
    assert long is not None
    assert len(long.body) == MAX_BODY_BYTES
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for bad in (b"-1\r\n\r\n", b"zz\r\n", b"\r\n"):
        with pytest.raises(NotHttpError, match="chunk"):
            read_answer(chunked + bad, ended=False)
    for bad in (b"SSH-2.0-x\r\n", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 200 OK" + bytes(70000)):
        with pytest.raises(NotHttpError):
            read_answer(bad, ended=False)
    with pytest.raises(NotHttpError, match="closed"):
        read_answer(b"HTTP/1.1 200", ended=True)


def test_a_request_is_one_request() -> None:
    assert request("/a?b", "web", {"X-A": "b"}) == (
        b"GET /a?b HTTP/1.1\r\nHost: web\r\nX-A: b\r\nUser-Agent: trenza\r\nConnection: close\r\n\r\n"
    )
    assert request("/", "web", {"connection": "keep-alive"}).count(b"onnection") == 1
    for path, host, headers in (("/\r\nX: y", "w", {}), ("/a b", "w", {}), ("/", "w\n", {}), ("/", "w", {"a\r": "b"})):
        with pytest.raises(UsageError):
            request(path, host, headers)


def test_a_dns_question_is_a_name_and_a_type_that_exist() -> None:
    assert question("10.0.0.80", "PTR").question[0].name.to_text() == "80.0.0.10.in-addr.arpa."
    assert question("fd00::1", "ptr").question[0].name.to_text().endswith(".ip6.arpa.")
    for name, rtype in (("a" * 64, "A"), ("web.lab", "NONSENSE"), ("a..b", "A"), ("x" * 300, "A")):
        with pytest.raises(UsageError):
            question(name, rtype)


def read_http(data: bytes) -> None:
    for ended in (False, True):
        try:
            read_answer(data, ended=ended)
        except NotHttpError:
            pass


OFFER = bytes.fromhex("350102330400000e10ff")
DNS_ANSWER = bytes.fromhex("123481800001000100000000037765620000010001c00c000100010000000100040a000050")

READERS: dict[str, tuple[Callable[[bytes], object], tuple[bytes, ...]]] = {
    "route": (recorded_route, (RECORD_ROUTE_OPTION,)),
    "reply": (lambda data: (read_echo_reply(4, data), read_echo_reply(6, data)),
              (ipv4(answer_to(4, echo_request(4, 1, 2, NONCE)), options=RECORD_ROUTE_OPTION),)),
    "error": (lambda data: (read_error(4, data, ROUTER), read_error(6, data, ip_address("fd00::1"))),
              (ipv4(bytes((3, 4, 0, 0, 0, 0, 0, 0)) + ipv4(echo_request(4, 1, 2, NONCE))),
               bytes((2, 0, 0, 0, 0, 0, 0, 0)) + ipv6(echo_request(6, 1, 2, NONCE)))),
    "claim": (read_claim, (who_has(ROUTER, MAC, None), who_has(IPv6Address("fd00::1"), MAC, IPv6Address("fd00::2")))),
    "udp": (lambda data: read_udp(data, 67), (udp_broadcast(MAC, 68, 67, discover_message(TRANSACTION, MAC)),)),
    "dhcp": (lambda data: read_offer(data, TRANSACTION, MAC, ROUTER), (offered(OFFER),)),
    "http": (read_http, tuple(ANSWERS)),
    "dns": (read_message, (question("web.lab", "A").to_wire(), DNS_ANSWER)),
}  # fmt: skip


@pytest.mark.parametrize("what", READERS)
def test_garbage_and_everything_cut_short_is_nothing(what: str) -> None:
    read, whole = READERS[what]
    dice = random.Random(what)
    for _ in range(1000):
        read(dice.randbytes(dice.randrange(600)))
        spoilt = bytearray(dice.choice(whole))
        for _ in range(dice.randrange(1, 5)):
            spoilt[dice.randrange(len(spoilt))] = dice.randrange(256)
        read(bytes(spoilt))
    for data in whole:
        for length in range(len(data)):
            read(data[:length])
