"""Objects as the store holds them: JSON without metadata.resourceVersion, which is the revision of the write.

The text begins with kind, apiVersion and metadata, so that the version can be put in without reading the rest: most
answers are the store's own bytes.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from typing import Any

from trenza.cluster.kinds.names import resource_version
from trenza.cluster.kinds.resources import Object
from trenza.cluster.store.protocol import Stored

_HEAD = re.compile(rb'\{"kind":"[A-Za-z]*","apiVersion":"[A-Za-z0-9./-]*","metadata":\{(?=")')
_REMEMBERED = 4096


def encoded(value: Any) -> bytes:
    """JSON as answers have it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def value_of(written: Object) -> bytes:
    """What the store keeps of an object."""
    metadata = {key: value for key, value in written["metadata"].items() if key != "resourceVersion"}
    first = {"kind": written["kind"], "apiVersion": written["apiVersion"], "metadata": metadata}
    return encoded({**first, **{key: value for key, value in written.items() if key not in first}})


def text_of(stored: Stored) -> bytes:
    """The object's JSON with its version in it, as clients get it."""
    return text_at(stored.value, stored.mod_revision)


def text_at(value: bytes, revision: int) -> bytes:
    """The JSON of a value as it was at another revision: what a deletion tells."""
    head = _HEAD.match(value)
    if head is None:  # somebody else wrote it
        return encoded(object_at(value, revision))
    return b'%b"resourceVersion":"%d",%b' % (head[0], revision, value[head.end() :])


def object_at(value: bytes, revision: int) -> Object:
    """The object of a value, with the version that `revision` gives it."""
    found: Object = json.loads(value)
    found["metadata"]["resourceVersion"] = resource_version(revision)
    return found


class Reader:
    """Objects out of stored values; the last few thousand are remembered. They are shared: nobody changes them."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int], Object] = OrderedDict()

    def object_of(self, stored: Stored) -> Object:
        """The object with its version in it."""
        place = (stored.key, stored.mod_revision)
        found = self._known.get(place)
        if found is None:
            found = self._known[place] = object_at(stored.value, stored.mod_revision)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(place)
        return found


class Latest:
    """Each key as it was last written here, of the last few thousand: what a change may begin with instead of a read.

    Somebody else may have written since, which the store says when the changed object is to be put there.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, Stored] = OrderedDict()

    def take(self, key: str) -> Stored | None:
        """The key as it may still be. It is forgotten until it is written again."""
        return self._known.pop(key, None)

    def written(self, stored: Stored) -> None:
        """It is so now, unless somebody else was faster."""
        self._known[stored.key] = stored
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
