"""What people made is told from what a cluster makes by itself, and as they would write it."""

from __future__ import annotations

from typing import Any

from trenza.keeper.made import as_written, made_by_people


def thing(kind: str, name: str, namespace: str = "default", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": "u", "resourceVersion": "7", **more.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "status": {"phase": "x"}, **more}


def test_what_a_cluster_has_by_itself_is_nobodys() -> None:
    found = [
        thing("ConfigMap", "mine", data={"a": "b"}),
        thing("ConfigMap", "kube-root-ca.crt"),
        thing("ConfigMap", "x", "kube-system"),
        thing("Service", "kubernetes"),
        thing("ServiceAccount", "default"),
        thing("Secret", "token", type="kubernetes.io/service-account-token"),
        thing("Pod", "owned", metadata={"ownerReferences": [{"name": "rc"}]}, spec={}),
        thing("Pod", "ending", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}, spec={}),
        thing("Service", "the-labs", spec={}),
    ]
    assert list(made_by_people(found, {"/api/v1/namespaces/default/services/the-labs"})) == [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine", "namespace": "default"},
         "data": {"a": "b"}},
    ]  # fmt: skip


def test_what_the_server_adds_to_a_pod_is_left_out() -> None:
    mount = {"name": "kube-api-access-x7k2p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    own = {"name": "data", "mountPath": "/data"}
    pod = thing(
        "Pod",
        "p",
        metadata={"labels": {"app": "a"}, "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        spec={
            "nodeName": "n",
            "containers": [{"name": "c", "volumeMounts": [own, mount]}],
            "ephemeralContainers": [{"name": "debugger-x7k2p"}],
            "volumes": [{"name": "data", "emptyDir": {}}, {"name": "kube-api-access-x7k2p", "projected": {}}],
        },
    )
    assert as_written(pod) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default", "labels": {"app": "a"}},
        "spec": {
            "nodeName": "n",
            "containers": [{"name": "c", "volumeMounts": [own]}],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }


def test_a_jobs_selector_is_made_anew() -> None:
    job = thing(
        "Job",
        "j",
        spec={
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
            "template": {"metadata": {"labels": {"batch.kubernetes.io/controller-uid": "u", "mine": "1"}}, "spec": {}},
        },
    )
    assert as_written(job)["spec"] == {"template": {"metadata": {"labels": {"mine": "1"}}, "spec": {}}}
