"""The four kinds of patch as one function of bytes: `patched(live, content, media_type, kind)`.

Server-side apply is `managed.applied`; here are the three that change an object in place. What comes out is an object
that has not been checked: `bodies.checked` prunes it, then defaults and validation see it like any update.
"""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import jsonpointer

from trenza.cluster.kinds.bodies import read_value
from trenza.cluster.kinds.fields import definitions, find_definition
from trenza.cluster.kinds.resources import Object
from trenza.cluster.kinds.status import PATCH_TYPES, bad_request, unprocessable, unsupported_media_type
from trenza.cluster.kinds.strategic import strategically_merged

JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH = PATCH_TYPES
# As the API server: more is a mistake or an attack. A few `copy` of a part into itself would fill any memory.
_MOST_OPERATIONS = 10_000
_MOST_VALUES = 200_000


def patched(live: Object, content: bytes, media_type: str, api_version: str, kind: str) -> Object:
    """A new object: the live one with the patch in it. Raises 400, 415 or 422."""
    if media_type not in (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH):
        raise unsupported_media_type(PATCH_TYPES)
    patch, _ = read_value(content, media_type, kind)
    match media_type:
        case "application/json-patch+json":
            return _operated(live, patch)
        case "application/merge-patch+json":
            if not isinstance(patch, dict):
                raise bad_request("a merge patch must be a JSON object")
            merged: Object = merge_patched(live, patch)
            return merged
        case _:
            name = find_definition(api_version, kind)
            schema = definitions()[name] if name is not None else {}
            strategic: Object = strategically_merged(live, patch, schema)
            return strategic


def merge_patched(original: Any, patch: Any) -> Any:
    """RFC 7386: mappings merge, null removes, everything else replaces. Neither argument is changed."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(original) if isinstance(original, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patched(merged.get(key), value)
    return merged


def _is_larger(value: Any, limit: int) -> bool:
    count, waiting = 0, [value]
    while waiting and count <= limit:
        one = waiting.pop()
        count += 1
        waiting.extend(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
    return count > limit


def _operated(live: Object, patch: Any) -> Object:
    if not isinstance(patch, list):
        raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    if len(patch) > _MOST_OPERATIONS:
        raise bad_request(f"The allowed maximum operations in a JSON patch is {_MOST_OPERATIONS}, got {len(patch)}")
    try:
        # Applied to a copy: an operation that fails leaves no trace of those before it.
        changed: Any = copy.deepcopy(live)
        for operation in jsonpatch.JsonPatch(patch).patch:
            changed = jsonpatch.JsonPatch([operation]).apply(changed, in_place=True)
            if operation.get("op") == "copy" and _is_larger(changed, _MOST_VALUES):
                raise bad_request(f"the patch copies more than {_MOST_VALUES} values")
    except (jsonpatch.InvalidJsonPatch, TypeError, AttributeError) as error:
        raise bad_request(f"error decoding patch: {error}") from None
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, KeyError, IndexError, ValueError):
        raise unprocessable() from None
    if not isinstance(changed, dict):
        raise unprocessable()
    return changed
