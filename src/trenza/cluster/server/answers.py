"""Answers in the form that a client wants: objects, tables, metadata alone; lists and watches, as bytes."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import yaml

from trenza.cluster.kinds.negotiation import Form, wanted_form, warning_header
from trenza.cluster.kinds.resources import Object, Resource
from trenza.cluster.kinds.status import ApiError, unavailable
from trenza.cluster.kinds.tables import partial, partial_list, table
from trenza.cluster.server.http import Response
from trenza.cluster.server.registry import Listed
from trenza.cluster.server.stored import encoded, object_at, text_of
from trenza.cluster.server.versions import from_storage, storage_resource
from trenza.cluster.server.watching import BOOKMARK_EVERY_S, Seen, error_event
from trenza.cluster.store.errors import StoreError
from trenza.cluster.store.protocol import Stored

WATCH_S = 1800.0  # for whoever does not say how long


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the client wants its answer. `yaml` is for people with curl."""

    form: Form
    include_object: str
    now_s: float
    yaml: bool = False

    @classmethod
    def of(cls, accept: str, include_object: str, now_s: float) -> Wanted:
        """From the Accept header. Raises a 406."""
        if accept.strip().startswith("application/yaml"):
            return cls(Form.OBJECT, include_object, now_s, True)
        return cls(wanted_form(accept), include_object or "Metadata", now_s)

    @property
    def is_plain(self) -> bool:
        """The store's own text will do."""
        return self.form is Form.OBJECT and not self.yaml


def status_response(error: ApiError) -> Response:
    """A refusal."""
    waits = error.details.retry_after_s if error.details is not None else 0
    headers = (("Retry-After", str(waits)),) if waits and error.status_code in (429, 503) else ()
    return Response(error.status_code, encoded(error.status()), headers=headers)


def json_response(value: Object, status: int = 200, *, content_type: str = "application/json") -> Response:
    """A document as it is."""
    return Response(status, encoded(value), content_type)


def text_response(text: str, status: int = 200) -> Response:
    """For people."""
    return Response(status, text.encode(), "text/plain; charset=utf-8")


def stored_response(resource: Resource, stored: Stored, wanted: Wanted) -> Response:
    """An object that was read."""
    if wanted.is_plain and storage_resource(resource) == resource:
        return Response(200, text_of(stored))
    return object_response(resource, from_storage(resource, object_at(stored.value, stored.mod_revision)), wanted)


def object_response(
    resource: Resource, written: Object, wanted: Wanted, status: int = 200, warnings: tuple[str, ...] = ()
) -> Response:
    """An object that was written, in its resource's own version."""
    return _with_warnings(_rendered(_formed(resource, written, wanted), wanted, status), warnings)


def list_response(resource: Resource, listed: Listed, wanted: Wanted) -> Response:
    """A page of a list."""
    metadata: Object = {"resourceVersion": str(listed.revision)}
    if listed.next is not None:
        metadata["continue"] = str(listed.next)
        if listed.remaining:
            metadata["remainingItemCount"] = listed.remaining
    if wanted.is_plain and storage_resource(resource) == resource:
        head = encoded({"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata})
        return Response(200, head[:-1] + b',"items":[' + b",".join(map(text_of, listed.items)) + b"]}")
    objects = [from_storage(resource, object_at(one.value, one.mod_revision)) for one in listed.items]
    match wanted.form:
        case Form.TABLE:
            value = table(resource, objects, wanted.now_s, list_metadata=metadata, include_object=wanted.include_object)
        case Form.METADATA:
            value = partial_list(objects, metadata)
        case _:
            value = {
                "kind": f"{resource.kind}List",
                "apiVersion": resource.api_version,
                "metadata": metadata,
                "items": objects,
            }
    return _rendered(value, wanted, 200)


def watch_response(
    resource: Resource, events: AsyncIterator[tuple[Seen, ...]], wanted: Wanted, timeout_s: float | None
) -> Response:
    """A watch, one JSON line an event."""
    return Response(200, _watch_lines(resource, events, wanted, timeout_s or WATCH_S))


async def _watch_lines(
    resource: Resource, events: AsyncIterator[tuple[Seen, ...]], wanted: Wanted, timeout_s: float
) -> AsyncIterator[bytes]:
    now_s: Callable[[], float] = asyncio.get_running_loop().time
    began_s, told_s = now_s(), -math.inf
    try:
        async with asyncio.timeout_at(began_s + timeout_s):
            async for seen in events:
                if seen and seen[0].is_progress and now_s() - told_s < BOOKMARK_EVERY_S:
                    continue
                if seen:
                    told_s = now_s()
                    then = replace(wanted, now_s=wanted.now_s + told_s - began_s)
                    yield b"".join(_watch_line(resource, one, then) for one in seen)
    except TimeoutError:
        pass
    except ApiError as error:
        yield encoded(error_event(error)) + b"\n"
    except StoreError as error:
        yield encoded(error_event(unavailable(error.message))) + b"\n"


def _watch_line(resource: Resource, seen: Seen, wanted: Wanted) -> bytes:
    if wanted.is_plain and storage_resource(resource) == resource:
        text = seen.text
    elif seen.type == "BOOKMARK" and wanted.form is Form.TABLE:
        text = encoded({**table(resource, [], wanted.now_s), "metadata": seen.object["metadata"]})
    else:
        text = encoded(_formed(resource, from_storage(resource, seen.object), wanted))
    return b'{"type":"%b","object":%b}\n' % (seen.type.encode(), text)


def _formed(resource: Resource, written: Object, wanted: Wanted) -> Object:
    match wanted.form:
        case Form.TABLE:
            metadata = {"resourceVersion": written["metadata"].get("resourceVersion", "")}
            return table(
                resource, [written], wanted.now_s, list_metadata=metadata, include_object=wanted.include_object
            )
        case Form.METADATA:
            return partial(written)
        case _:
            return written


def _rendered(value: Object, wanted: Wanted, status: int) -> Response:
    if wanted.yaml:
        plain = json.loads(encoded(value))  # without shared parts, which YAML would write as aliases
        return Response(status, yaml.safe_dump(plain, sort_keys=False).encode(), "application/yaml")
    return json_response(value, status)


def _with_warnings(response: Response, warnings: tuple[str, ...]) -> Response:
    if not warnings:
        return response
    headers = tuple(("Warning", warning_header(one).encode().decode("latin-1")) for one in warnings)
    return Response(response.status, response.body, response.content_type, response.headers + headers)
