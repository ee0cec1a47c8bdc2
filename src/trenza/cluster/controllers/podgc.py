"""Pods that nobody else will ever finish: on nodes that are gone, deleted before they had one, or finished in heaps."""

from __future__ import annotations

from collections.abc import Iterator

from trenza.cluster.controllers.matching import taints_of
from trenza.cluster.controllers.objects import is_deleting, name_of, oldest_first
from trenza.cluster.controllers.pods import is_finished, node_of
from trenza.cluster.controllers.snapshot import NODES, PODS, Snapshot
from trenza.cluster.controllers.writes import Delete, Event, Step

COMPONENT = "pod-garbage-collector"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
MOST_FINISHED = 12500


def pod_garbage(snapshot: Snapshot, now_s: float, *, most_finished: int = MOST_FINISHED) -> Iterator[Step]:
    nodes = {name_of(node): node for node in snapshot[NODES].values()}
    finished = []
    for pod in snapshot[PODS].values():
        where = node_of(pod)
        if is_finished(pod) and not is_deleting(pod):
            finished.append(pod)
        if where and where not in nodes:
            told = Event(pod, "PodGC", f"PodGC: node no longer exists: {where}", COMPONENT)
            yield Delete(PODS, pod, (told,), grace_s=0)
        elif is_deleting(pod):
            lost = where and any(taint["key"] == OUT_OF_SERVICE for taint in taints_of(nodes[where]))
            if not where or lost:
                yield Delete(PODS, pod, grace_s=0)
    for pod in oldest_first(finished)[: max(0, len(finished) - most_finished)]:
        yield Delete(PODS, pod, grace_s=0)
