"""How long does the control plane think?

The scheduler: 1000 pods that nobody has placed yet, of one replica set, on 10 nodes; one decision, from the snapshot to
1000 bindings. The whole control plane: a ReplicationController of 1000 appears; from its creation to 1000 bindings,
every controller run as often as the loop asks, writes applied to a registry of plain dicts that costs next to nothing.
One change: a pod of 1000 behind one service is no longer ready; until endpoints, slices and statuses say so. And the
same beside many: 1000 Services of two pods of these each, of which a tenth serve a Service more; it appears, and one
of its pods is no longer ready. Median of seven turns.

Caveats: one machine, shared; pods are of one shape, without affinities; storing and watching are not in it.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "unit" / "cluster" / "controllers"))

from simulated_cluster import START_S, Simulation, cluster, node, pod, service, template, workload

from trenza.cluster.controllers.objects import controller_reference, with_metadata
from trenza.cluster.controllers.pods import node_of
from trenza.cluster.controllers.scheduler import schedule
from trenza.cluster.controllers.snapshot import NODES, PODS, REPLICATION_CONTROLLERS, SERVICES

PODS_WANTED, NODES_THERE, SERVICES_THERE, TURNS = 1000, 10, 1000, 7


def empty_cluster() -> Simulation:
    run = cluster(chaos=False)
    for number in range(NODES_THERE):
        run.registry.create(NODES, node(f"n{number}", cpu="64", memory="256Gi", pods="200"))
    return run


def scheduler_ms() -> float:
    run = empty_cluster()
    thing = workload("ReplicationController", "web", PODS_WANTED, template=template(cpu="10m"))
    owner = run.registry.create(REPLICATION_CONTROLLERS, thing)
    shape = template(cpu="10m")
    for number in range(PODS_WANTED):
        each = pod(f"web-{number}", labels=shape["metadata"]["labels"], **shape["spec"])
        run.registry.create(PODS, with_metadata(each, ownerReferences=[controller_reference(owner)]))
    snapshot = run.registry.snapshot()
    began = time.perf_counter()
    steps = list(schedule(snapshot, START_S))
    took_ms = (time.perf_counter() - began) * 1000
    assert len(steps) == PODS_WANTED
    return took_ms


def control_plane_ms() -> float:
    run = empty_cluster()
    run.run()
    run.kubelet = lambda: False  # type: ignore[method-assign]  # nobody runs them
    began = time.perf_counter()
    thing = workload("ReplicationController", "web", PODS_WANTED, template=template(cpu="10m"))
    run.registry.create(REPLICATION_CONTROLLERS, thing)
    run.run()
    took_ms = (time.perf_counter() - began) * 1000
    assert sum(bool(node_of(each)) for each in run.registry.all(PODS)) == PODS_WANTED
    return took_ms


def one_change_ms() -> float:
    """One pod of a thousand, all behind one service, is no longer ready: until it is out of the endpoints."""
    run = empty_cluster()
    run.registry.create(SERVICES, service("web"))
    for group in range(10):
        labels = {"app": "web", "group": str(group)}
        thing = workload(
            "ReplicationController",
            f"web{group}",
            PODS_WANTED // 10,
            selector=labels,
            template=template(cpu="10m", **labels),
        )
        run.registry.create(REPLICATION_CONTROLLERS, thing)
    run.run()
    run.report(run.registry.all(PODS)[0], ready=False)
    began = time.perf_counter()
    run.run()
    return (time.perf_counter() - began) * 1000


def beside_services() -> Simulation:
    """A pod of each group of two, `SERVICES_THERE` services of a group each, and a tenth of the pods that serve."""
    run = empty_cluster()
    for number in range(PODS_WANTED):
        labels = {"group": str(number // 2)} if number >= PODS_WANTED // 10 else {"app": "web"}
        run.registry.create(PODS, pod(f"p{number}", labels=labels))
    for number in range(SERVICES_THERE):
        group = PODS_WANTED // 20 + number % (PODS_WANTED * 9 // 20)
        run.registry.create(SERVICES, service(f"s{number}", selector={"group": str(group)}))
    run.run()
    return run


def one_service_more_ms(run: Simulation, number: int) -> float:
    began = time.perf_counter()
    run.registry.create(SERVICES, service(f"web{number}", selector={"app": "web"}))
    run.run()
    return (time.perf_counter() - began) * 1000


def one_endpoint_less_ms(run: Simulation, number: int) -> float:
    run.report(run.registry.all(PODS)[number], ready=False)
    began = time.perf_counter()
    run.run()
    return (time.perf_counter() - began) * 1000


def median_ms(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(TURNS))


def main() -> None:
    print(f"control plane, {PODS_WANTED} pods on {NODES_THERE} nodes, median of {TURNS}:")
    print(f"  scheduler alone, one decision         {median_ms(scheduler_ms):7.0f} ms")
    print(f"  every controller, creation to binding {median_ms(control_plane_ms):7.0f} ms, events included")
    print(f"  one of them is no longer ready        {median_ms(one_change_ms):7.0f} ms until its service knows")
    run = beside_services()
    more = statistics.median(one_service_more_ms(run, number) for number in range(TURNS))
    less = statistics.median(one_endpoint_less_ms(run, number) for number in range(TURNS))
    print(f"  beside {SERVICES_THERE} Services one of 100 appears  {more:7.0f} ms until its endpoints are written")
    print(f"  … and loses one                       {less:7.0f} ms")


if __name__ == "__main__":
    main()
