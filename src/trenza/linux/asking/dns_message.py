"""DNS as bytes: a question, and what a message says, by dnspython, which is imported when there is something to ask.

No socket here.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING

from trenza.errors import UsageError

if TYPE_CHECKING:
    from dns.message import Message, QueryMessage


def question(name: str, rtype: str) -> QueryMessage:
    """A question with a random id. Of a PTR the address may stand for its name.

    Raises UsageError for a name or a type there cannot be.
    """
    import dns.exception
    import dns.message
    import dns.reversename

    try:
        if rtype.upper() == "PTR":
            try:
                return dns.message.make_query(dns.reversename.from_address(str(ip_address(name))), "PTR")
            except ValueError:
                pass  # a name below in-addr.arpa, written out
        return dns.message.make_query(name, rtype.upper())
    except (dns.exception.DNSException, UnicodeError, ValueError) as error:
        raise UsageError(f"there is no DNS question for {name!r} {rtype}: {error}") from error


def read_message(wire: bytes) -> Message | None:
    """The message, one that was cut to fit included; None for what is no message."""
    import dns.exception
    import dns.message

    try:
        return dns.message.from_wire(wire, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError, struct.error, IndexError):
        return None


def was_cut(message: Message) -> bool:
    """Whether the server says that there is more, for whoever asks over TCP."""
    import dns.flags

    return bool(message.flags & dns.flags.TC)


def rcode_word(message: Message) -> str:
    """`NOERROR`, `NXDOMAIN` …"""
    import dns.rcode

    return dns.rcode.to_text(message.rcode())


def answers(message: Message) -> tuple[str, ...]:
    """The data of the asked type, sorted, as dig prints them; names without the dot at their end."""
    rtype = message.question[0].rdtype
    found = {data.to_text().removesuffix(".") for rrset in message.answer if rrset.rdtype == rtype for data in rrset}
    return tuple(sorted(found))
