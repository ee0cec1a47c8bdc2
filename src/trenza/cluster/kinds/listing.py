"""The query of a list or a watch as values, and the token that continues a list where its last page ended."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass

from trenza.cluster.kinds.resources import Resource
from trenza.cluster.kinds.selectors import FieldSelector, LabelSelector, field_selector, label_selector
from trenza.cluster.kinds.status import Causes, bad_continue, bad_request, bad_version, invalid

_MATCHES = ("Exact", "NotOlderThan")


@dataclass(frozen=True, slots=True)
class Continue:
    """Where a list goes on: after `key`, as things were at `revision`."""

    revision: int
    key: str


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What a list or watch asks for. `revision` None is unset, 0 is "any"; `limit` 0 is everything."""

    labels: LabelSelector = LabelSelector()
    fields: FieldSelector = FieldSelector()
    watch: bool = False
    bookmarks: bool = False
    revision: int | None = None
    exact: bool = False
    limit: int = 0
    after: Continue | None = None
    timeout_s: int | None = None


def list_options(query: Mapping[str, str], resource: Resource, *, watch: bool = False) -> ListOptions:
    """The options of a query's parameters. Raises the 400, 422 or 500 that a real server answers."""
    watching = watch or _truth(query, "watch")
    revision = revision_of(query.get("resourceVersion", ""))
    match = query.get("resourceVersionMatch", "")
    after = read_continue(query["continue"]) if query.get("continue") else None
    _check(query, watching, revision, match, after)
    return ListOptions(
        labels=label_selector(query.get("labelSelector", "")),
        fields=field_selector(query.get("fieldSelector", ""), resource),
        watch=watching,
        bookmarks=_truth(query, "allowWatchBookmarks"),
        revision=revision,
        exact=match == "Exact",
        limit=_number(query, "limit") or 0,
        after=after,
        timeout_s=_number(query, "timeoutSeconds"),
    )


def revision_of(text: str) -> int | None:
    """The store's revision that a resourceVersion means; None for "". Raises the 500 of a text that is no number."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise bad_version(text)
    return int(text)


def write_continue(after: Continue) -> str:
    """The token of a place in a list, as opaque as Kubernetes' own."""
    said = {"v": "meta.k8s.io/v1", "rv": after.revision, "start": after.key}
    return base64.urlsafe_b64encode(json.dumps(said, separators=(",", ":")).encode()).decode().rstrip("=")


def read_continue(token: str) -> Continue:
    """The place a token stands for. Raises a 400 for one that we did not write."""
    try:
        said = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        revision, key = said["rv"], said["start"]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        raise bad_continue("continue key is not valid: it was not written by this server") from None
    if isinstance(revision, bool) or not isinstance(revision, int) or not isinstance(key, str) or not key:
        raise bad_continue("continue key is not valid: it was not written by this server")
    return Continue(revision, key)


def _check(query: Mapping[str, str], watching: bool, revision: int | None, match: str, after: Continue | None) -> None:
    causes = Causes()
    if "sendInitialEvents" in query:
        why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
        causes.forbidden("sendInitialEvents", why if watching else "sendInitialEvents is forbidden for list")
    if match and watching:
        causes.forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden for watch")
    elif match and revision is None:
        why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        causes.forbidden("resourceVersionMatch", why)
    elif match and after is not None:
        causes.forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
    elif match and match not in _MATCHES:
        causes.unsupported("resourceVersionMatch", match, (*_MATCHES, ""))
    elif match == "Exact" and revision == 0:
        why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        causes.forbidden("resourceVersionMatch", why)
    if causes.found:
        raise invalid("ListOptions.meta.k8s.io", "", causes.found)


def _truth(query: Mapping[str, str], name: str) -> bool:
    # As Go's decoder of query parameters: present and not a word for false.
    return name in query and query[name].lower() not in ("0", "false")


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.lstrip("-").isdigit() and len(text) < 19):
        raise bad_request(f'unable to decode query parameter {name}: parsing "{text}": invalid syntax')
    return max(int(text), 0)
