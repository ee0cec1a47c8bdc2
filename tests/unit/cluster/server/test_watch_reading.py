"""What watches that select must read of an event: each event once, however many watches there are."""

from __future__ import annotations

import dataclasses

from trenza.cluster.kinds.resources import get_resource
from trenza.cluster.server.listing import list_options
from trenza.cluster.server.stored import Reader, value_of
from trenza.cluster.server.watching import seen
from trenza.cluster.store.protocol import Batch, Put, Stored

POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "p", "namespace": "default"},
    "spec": {"nodeName": "larrain"},
}


def test_an_event_is_read_once_for_all_watches() -> None:
    reader = Reader()
    pods = get_resource("", "v1", "pods")
    stored = Stored("/registry/pods/default/p", value_of(POD), 7, 7, 1)
    unreadable = dataclasses.replace(stored, value=b"{")
    first, second = (
        [
            one.type
            for one in seen(Batch(7, (Put(event, None),)), list_options({"fieldSelector": selector}, pods), reader)
        ]
        for event, selector in ((stored, "spec.nodeName=larrain"), (unreadable, "spec.nodeName=concepcion"))
    )
    assert (first, second) == (["ADDED"], [])
