"""What the query of a list or a watch asks for: selectors, pages, versions; and continue tokens.

Pure. Every refusal is the ApiError of a real server.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from trenza.cluster.kinds.resources import Object, Resource
from trenza.cluster.kinds.selectors import FieldSelector, LabelSelector, field_selector, label_selector
from trenza.cluster.kinds.status import Causes, bad_continue, bad_request, bad_version, invalid

EXACT = "Exact"
NOT_OLDER = "NotOlderThan"


@dataclass(frozen=True, slots=True)
class Continue:
    """Where a list goes on: behind `after`, at `revision`."""

    revision: int
    after: str

    def __str__(self) -> str:
        said = json.dumps({"v": "meta.k8s.io/v1", "rv": self.revision, "start": self.after}, separators=(",", ":"))
        return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What is wanted of a collection. `version` None: as it is now. `timeout_s` is a watch's."""

    labels: LabelSelector = LabelSelector()
    fields: FieldSelector = field(default_factory=FieldSelector)
    limit: int = 0
    page: Continue | None = None
    version: int | None = None
    match: str = ""
    bookmarks: bool = False
    initial_events: bool = False
    timeout_s: float | None = None

    @property
    def selects(self) -> bool:
        """Whether objects must be read to know if they are wanted."""
        return bool(self.labels.requirements or self.fields.terms)

    def holds(self, written: Object) -> bool:
        """Whether the object is wanted."""
        return self.labels.holds(written["metadata"].get("labels")) and self.fields.holds(written)


def list_options(query: Mapping[str, str], resource: Resource, *, watch: bool = False) -> ListOptions:
    """The options in the query. Raises 400, 422 and, for versions that are no numbers, 500."""
    labels = label_selector(query.get("labelSelector", ""))
    fields = field_selector(query.get("fieldSelector", ""), resource)
    version_text, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    token = query.get("continue", "")
    initial = query.get("sendInitialEvents")
    _check_match(version_text, match, token, watch, initial)
    if version_text and not (version_text.isascii() and version_text.isdigit()):
        raise bad_version(version_text)
    version = int(version_text) if version_text not in ("", "0") else None
    if token and version is not None:
        raise bad_request("specifying resource version is not allowed when using continue")
    timeout = _number(query, "timeoutSeconds")
    return ListOptions(
        labels,
        fields,
        max(0, _number(query, "limit") or 0),
        _continued(token) if token else None,
        version,
        match,
        flag(query, "allowWatchBookmarks"),
        initial is not None and flag(query, "sendInitialEvents"),
        float(timeout) if timeout else None,
    )


def flag(query: Mapping[str, str], name: str) -> bool:
    """A query parameter that is true or false; empty is true, as Kubernetes reads it."""
    return name in query and query[name].lower() not in ("0", "false")


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if not text:
        return None
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if len(text) > 18:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(text)


def _check_match(version: str, match: str, token: str, watch: bool, initial: str | None) -> None:
    causes = Causes()
    where = "resourceVersionMatch"
    if initial is not None and not watch:
        causes.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
    elif initial is not None and match != NOT_OLDER:
        causes.forbidden(where, f"sendInitialEvents requires setting {where} to NotOlderThan")
    elif match and watch and initial is None:
        causes.forbidden(where, f"{where} is forbidden for watch")
    elif match and not watch:
        if token:
            causes.forbidden(where, f"{where} is forbidden when continue is provided")
        elif not version:
            causes.forbidden(where, f"{where} is forbidden unless resourceVersion is provided")
        elif match not in (EXACT, NOT_OLDER):
            causes.unsupported(where, match, (EXACT, NOT_OLDER, ""))
        elif match == EXACT and version == "0":
            causes.forbidden(where, f'{where} "{EXACT}" is forbidden for resourceVersion "0"')
    if causes.found:
        raise invalid("ListOptions.meta.k8s.io", "", causes.found)


def _continued(token: str) -> Continue:
    try:
        said = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        revision, after = said["rv"], said["start"]
    except (ValueError, KeyError, TypeError):
        raise bad_continue("continue key is not valid") from None
    if not isinstance(revision, int) or not isinstance(after, str) or revision < 1:
        raise bad_continue("continue key is not valid")
    return Continue(revision, after)
