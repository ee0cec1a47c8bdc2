"""The controllers of a cluster's control plane, each with what it reads; their times and texts are the caller's."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from trenza.cluster.controllers.daemonset import daemon_sets
from trenza.cluster.controllers.deployment import deployments
from trenza.cluster.controllers.endpoints import endpoints
from trenza.cluster.controllers.endpointslices import endpoint_slices
from trenza.cluster.controllers.garbage import garbage
from trenza.cluster.controllers.job import FIRST_RETRY_S, jobs
from trenza.cluster.controllers.loop import Controller
from trenza.cluster.controllers.namespaces import namespaces
from trenza.cluster.controllers.nodes import NodeTimes, node_lifecycle
from trenza.cluster.controllers.podgc import MOST_FINISHED, pod_garbage
from trenza.cluster.controllers.replicaset import replica_sets
from trenza.cluster.controllers.replicationcontroller import replication_controllers
from trenza.cluster.controllers.scheduler import schedule
from trenza.cluster.controllers.serviceaccounts import service_accounts
from trenza.cluster.controllers.snapshot import (
    CONFIG_MAPS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    EVENTS,
    JOBS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from trenza.cluster.controllers.writes import Settled


@dataclass(frozen=True, slots=True)
class Settings:
    """What a lab decides about its control plane. Every time has Kubernetes' value; labs take shorter ones."""

    root_certificate: str = ""
    node_times: NodeTimes = field(default_factory=NodeTimes)
    first_retry_s: float = FIRST_RETRY_S
    most_finished_pods: int = MOST_FINISHED


def control_plane(settings: Settings) -> tuple[Controller, ...]:
    """Every controller, the scheduler included. In one decision they run in this order, on one snapshot."""
    accounts = partial(service_accounts, root_certificate=settings.root_certificate)
    lifecycle = partial(node_lifecycle, times=settings.node_times)
    return (
        Controller("namespaces", namespaces),
        # A lease goes when its node goes, which is a change of nodes; that it is renewed every second is none.
        Controller("garbage", garbage, ignores=frozenset((EVENTS, LEASES))),
        Controller("service-accounts", accounts, frozenset((NAMESPACES, SERVICE_ACCOUNTS, CONFIG_MAPS))),
        Controller("nodes", lifecycle, frozenset((NODES, LEASES, PODS))),
        Controller(
            "pod-garbage", partial(pod_garbage, most_finished=settings.most_finished_pods), frozenset((NODES, PODS))
        ),
        Controller("deployments", deployments, frozenset((DEPLOYMENTS, REPLICA_SETS, PODS))),
        Controller("replica-sets", replica_sets, frozenset((REPLICA_SETS, PODS))),
        Controller("replication-controllers", replication_controllers, frozenset((REPLICATION_CONTROLLERS, PODS))),
        Controller("daemon-sets", daemon_sets, frozenset((DAEMON_SETS, NODES, PODS))),
        Controller("jobs", partial(jobs, first_retry_s=settings.first_retry_s), frozenset((JOBS, PODS))),
        Controller("scheduler", schedule, frozenset((PODS, NODES))),
        Controller(
            "endpoints", partial(endpoints, settled=Settled()), frozenset((SERVICES, PODS, ENDPOINTS, NAMESPACES))
        ),
        Controller(
            "endpoint-slices",
            partial(endpoint_slices, settled=Settled()),
            frozenset((SERVICES, PODS, ENDPOINTS, ENDPOINT_SLICES, NAMESPACES)),
        ),
    )
