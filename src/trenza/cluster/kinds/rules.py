"""The spellings Kubernetes allows for names, labels, ports and the like; each function returns what is wrong.

An empty tuple is a good value. The words are Kubernetes' (k8s.io/apimachinery/pkg/util/validation); the rules are
those of RFC 1123, 1035 and 6335.
"""

from __future__ import annotations

import ipaddress
import re

_LABEL_1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z", re.ASCII)
_SUBDOMAIN_1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z", re.ASCII)
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z", re.ASCII)
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z", re.ASCII)
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+\Z", re.ASCII)
_PORT_NAME = re.compile(r"[-a-z0-9]+\Z", re.ASCII)

LABEL_BYTES = 63
SUBDOMAIN_BYTES = 253


def _regex(message: str, form: str, *examples: str) -> str:
    # The comma before each "or" and the two spaces after it are Kubernetes' own.
    said = " or ".join(f"'{one}', " if one != examples[-1] else f"'{one}'" for one in examples)
    return f"{message} (e.g. {said}, regex used for validation is '{form}')"


_TEXT_1123_LABEL = _regex(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character",
    "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
    "my-name",
    "123-abc",
)
_TEXT_1123_SUBDOMAIN = _regex(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character",
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
    "example.com",
)
_TEXT_1035 = _regex(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character",
    "[a-z]([-a-z0-9]*[a-z0-9])?",
    "my-name",
    "abc-123",
)
_TEXT_NAME_PART = _regex(
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
    "an alphanumeric character",
    "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]",
    "MyName",
    "my.name",
    "123-abc",
)
_TEXT_QUALIFIED = (
    _TEXT_NAME_PART.replace("name part", "a qualified name", 1)
    + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)
_TEXT_LABEL_VALUE = _regex(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character",
    "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
    "MyValue",
    "my_value",
    "12345",
)
_TEXT_CONFIG_KEY = _regex(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    "[-._a-zA-Z0-9]+",
    "key.name",
    "KEY_NAME",
    "key-name",
)


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} characters"


def _checked(text: str, limit: int, form: re.Pattern[str], said: str) -> tuple[str, ...]:
    long = (_too_long(limit),) if len(text) > limit else ()
    return long if form.match(text) else (*long, said)


def label_1123_problems(text: str) -> tuple[str, ...]:
    """What keeps a text from being an RFC 1123 label (namespaces, containers, volumes)."""
    return _checked(text, LABEL_BYTES, _LABEL_1123, _TEXT_1123_LABEL)


def subdomain_1123_problems(text: str) -> tuple[str, ...]:
    """What keeps a text from being an RFC 1123 subdomain (most objects' names)."""
    return _checked(text, SUBDOMAIN_BYTES, _SUBDOMAIN_1123, _TEXT_1123_SUBDOMAIN)


def label_1035_problems(text: str) -> tuple[str, ...]:
    """What keeps a text from being an RFC 1035 label (services' names)."""
    return _checked(text, LABEL_BYTES, _LABEL_1035, _TEXT_1035)


def label_key_problems(key: str) -> tuple[str, ...]:
    """What keeps a text from being a label's key: an optional DNS prefix, a slash, a name."""
    prefix, slash, name = key.rpartition("/")
    problems: list[str] = []
    if slash:
        if not prefix:
            problems.append("prefix part must be non-empty")
        elif "/" in prefix:
            return (_TEXT_QUALIFIED,)
        else:
            problems += [f"prefix part {one}" for one in subdomain_1123_problems(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > LABEL_BYTES:
        problems.append(f"name part {_too_long(LABEL_BYTES)}")
    if not _QUALIFIED.match(name):
        problems.append(_TEXT_NAME_PART)
    return tuple(problems)


def label_value_problems(value: str) -> tuple[str, ...]:
    """What keeps a text from being a label's value."""
    long = (_too_long(LABEL_BYTES),) if len(value) > LABEL_BYTES else ()
    return long if value == "" or _QUALIFIED.match(value) else (*long, _TEXT_LABEL_VALUE)


def config_key_problems(key: str) -> tuple[str, ...]:
    """What keeps a text from being a key of a ConfigMap or a Secret."""
    if key == ".":
        return ("must not be '.'",)
    if key.startswith(".."):
        return ("must not be '..'",) if key == ".." else ("must not start with '..'",)
    return _checked(key, SUBDOMAIN_BYTES, _CONFIG_KEY, _TEXT_CONFIG_KEY)


def env_name_problems(name: str) -> tuple[str, ...]:
    """What keeps a text from naming an environment variable: since 1.32 anything printable but `=`."""
    if name and all(" " <= letter <= "~" and letter != "=" for letter in name):
        return ()
    return ("a valid environment variable name must consist only of printable ASCII characters other than '='",)


def port_problems(port: int) -> tuple[str, ...]:
    """What keeps a number from being a port."""
    return () if 1 <= port <= 65535 else ("must be between 1 and 65535, inclusive",)


def port_name_problems(name: str) -> tuple[str, ...]:
    """What keeps a text from being a port's name (RFC 6335)."""
    problems = ["must be no more than 15 characters"] if len(name) > 15 else []
    if not _PORT_NAME.match(name):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", name):
        problems.append("must contain at least one letter (a-z)")
    if "--" in name:
        problems.append("must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        problems.append("must not begin or end with a hyphen")
    return tuple(problems)


def ip_problems(text: str) -> tuple[str, ...]:
    """What keeps a text from being an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return ("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",)
    return ()


def cidr_problems(text: str) -> tuple[str, ...]:
    """What keeps a text from being an IP network; bits behind its length are nobody's business."""
    _, slash, length = text.partition("/")
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        slash = ""
    return () if slash and length.isdecimal() else ("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",)
