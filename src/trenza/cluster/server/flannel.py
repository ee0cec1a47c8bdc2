"""The overlay's part of the store for the nodes' agents: flannel's own keys, below their own paths.

    GET /coreos.com/network/config                             the value
    GET /coreos.com/network/subnets                            {"revision", "leases": [{"subnet", "value"}, …]}
    GET /coreos.com/network/subnets?watch=true&revision=7      JSON lines {"subnet", "value" or null}
    PUT /coreos.com/network/subnets/SUBNET?ttl=S[&create=true] the value as the body; 409 if create and it is there
    DELETE /coreos.com/network/subnets/SUBNET

A subnet lives by a lease of the store: it goes when its node has not written it again for `ttl` seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from trenza.cluster.kinds.resources import Object
from trenza.cluster.kinds.status import (
    ApiError,
    Details,
    bad_request,
    method_not_allowed,
    no_such_path,
    too_old,
    unavailable,
)
from trenza.cluster.server.answers import WATCH_S, json_response
from trenza.cluster.server.http import Request, Response
from trenza.cluster.server.listing import flag
from trenza.cluster.server.stored import encoded
from trenza.cluster.server.watching import error_event
from trenza.cluster.store.errors import Compacted, Conflict, NoSuchLease, StoreError, TooSlow
from trenza.cluster.store.protocol import Batch, Delete, Put, Store

ROOT = "/coreos.com/network"
CONFIG = f"{ROOT}/config"
SUBNETS = f"{ROOT}/subnets"
_DAY_S = 86_400


async def answered(store: Store, request: Request) -> Response:
    """The answer to a request below `ROOT`. Raises ApiErrors."""
    path = request.path.rstrip("/")
    match request.method, path:
        case "GET", "/coreos.com/network/config":
            stored = await store.get(CONFIG)
            if stored is None:
                raise no_such_path()
            return json_response(json.loads(stored.value))
        case "GET", "/coreos.com/network/subnets":
            if flag(request.parameters, "watch"):
                return Response(200, _watched(store, _integer(request.parameters.get("revision", ""), "revision")))
            page = await store.range(f"{SUBNETS}/")
            found = [{"subnet": _subnet(one.key), "value": _value(one.value)} for one in page.items]
            leases = [lease for lease in found if lease["value"] is not None]
            return json_response({"revision": page.revision, "leases": leases})
        case (("PUT" | "DELETE"), _) if path.startswith(f"{SUBNETS}/") and "/" not in _subnet(path):
            if request.method == "PUT":
                return await _put(store, path, request)
            with contextlib.suppress(Conflict):  # it is gone already
                await store.delete(path, expected=None)
            return json_response({})
        case _, ("/coreos.com/network/config" | "/coreos.com/network/subnets"):
            raise method_not_allowed()
        case _:
            raise no_such_path()


async def _put(store: Store, key: str, request: Request) -> Response:
    try:
        value: Any = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the value is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise bad_request("the value is a JSON object")
    query = request.parameters
    ttl_s = _integer(query.get("ttl", str(_DAY_S)), "ttl")
    stored = await store.get(key)
    while True:
        if stored is not None and flag(query, "create"):
            raise ApiError(409, "AlreadyExists", f"{_subnet(key)} is leased to somebody", Details(_subnet(key)))
        # A lease that is there is kept alive; its length is its first writer's to say.
        lease = stored.lease if stored is not None else 0
        try:
            if lease:
                await store.keep_alive(lease)
            else:
                lease = (await store.grant(ttl_s)).id
            expected = stored.mod_revision if stored is not None else 0
            revision = await store.put(key, encoded(value), expected=expected, lease=lease)
        except Conflict as error:
            stored = error.current
        except NoSuchLease:
            stored = await store.get(key)
        else:
            return json_response({"revision": revision})


async def _watched(store: Store, revision: int) -> AsyncIterator[bytes]:
    try:
        async with asyncio.timeout(WATCH_S):
            with store.watch(f"{SUBNETS}/", from_revision=revision + 1) as watch:
                async for batch in watch:
                    lines = b"".join(_lines(batch))
                    if lines:
                        yield lines
    except TimeoutError:
        pass
    except Compacted as error:
        yield encoded(error_event(too_old(revision, error.revision))) + b"\n"
    except TooSlow as error:
        yield encoded(error_event(ApiError(410, "Expired", str(error)))) + b"\n"
    except StoreError as error:
        yield encoded(error_event(unavailable(error.message))) + b"\n"


def _lines(batch: Batch) -> Iterator[bytes]:
    for event in batch.events:
        value = _value(event.stored.value) if isinstance(event, Put) else None
        if value is not None or isinstance(event, Delete):
            yield encoded({"subnet": _subnet(event.key), "value": value}) + b"\n"


def _value(content: bytes) -> Object | None:
    """What a key says; None for what people wrote there by hand and that says nothing: flannel passes it over, too."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _subnet(key: str) -> str:
    return key.removeprefix(f"{SUBNETS}/")


def _integer(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise bad_request(f"{name} is a number")
    return int(text)
