"""What every namespace has: the service account `default`, and the config map with the cluster's root certificate."""

from __future__ import annotations

from collections.abc import Iterator

from trenza.cluster.controllers.objects import Object, is_deleting, name_of
from trenza.cluster.controllers.snapshot import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS, Snapshot
from trenza.cluster.controllers.writes import Create, Step, Update

ACCOUNT = "default"
ROOT_CERTIFICATE = "kube-root-ca.crt"


def service_accounts(snapshot: Snapshot, now_s: float, *, root_certificate: str) -> Iterator[Step]:
    """`root_certificate` is PEM; a config map that says something else is put right."""
    for namespace in snapshot[NAMESPACES].values():
        if is_deleting(namespace):
            continue
        place = name_of(namespace)
        if (place, ACCOUNT) not in snapshot[SERVICE_ACCOUNTS]:
            yield Create(SERVICE_ACCOUNTS, _object("ServiceAccount", place, ACCOUNT))
        known = snapshot[CONFIG_MAPS].get((place, ROOT_CERTIFICATE))
        data = {"ca.crt": root_certificate}
        if known is None:
            yield Create(CONFIG_MAPS, {**_object("ConfigMap", place, ROOT_CERTIFICATE), "data": data})
        elif known.get("data") != data and not is_deleting(known):
            yield Update(CONFIG_MAPS, {**known, "data": data})


def _object(kind: str, namespace: str, name: str) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}}
