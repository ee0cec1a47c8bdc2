"""What a server fills in, against what a real one answered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kind_examples import CONTROLLERS, DEPLOYMENTS, JOBS, PODS, SERVICES, created, deployment, pod, pod_spec, service

from trenza.cluster.kinds.ages import duration_text
from trenza.cluster.kinds.defaults import pull_policy, with_defaults, with_pod_admission
from trenza.cluster.kinds.quantities import amount_of, canonical

CONTAINER = {
    "name": "c",
    "image": "x",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "imagePullPolicy": "Always",
}
POD_SPEC = {
    "containers": [CONTAINER],
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}


def test_a_pod_is_filled_in_as_recorded() -> None:
    stored = with_pod_admission(created(PODS, pod(nodeSelector={"no": "where"})))
    lost = [
        {"key": f"node.kubernetes.io/{why}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for why in ("not-ready", "unreachable")
    ]
    assert stored["spec"] == POD_SPEC | {
        "nodeSelector": {"no": "where"},
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "tolerations": lost,
        "priority": 0,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    assert stored["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


def test_a_deployment_is_filled_in_as_recorded() -> None:
    stored = created(DEPLOYMENTS, deployment())
    assert stored["metadata"]["generation"] == 1
    assert stored["status"] == {}
    assert stored["spec"] == {
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD_SPEC},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }


def test_a_replication_controller_takes_labels_and_selector_from_its_template() -> None:
    template = {"metadata": {"labels": {"q": "b"}}, "spec": pod_spec()}
    stored = created(CONTROLLERS, {"metadata": {"name": "rc"}, "spec": {"replicas": 0, "template": template}})
    assert stored["metadata"]["labels"] == {"q": "b"}
    assert stored["spec"] == {
        "replicas": 0,
        "selector": {"q": "b"},
        "template": {"metadata": {"labels": {"q": "b"}}, "spec": POD_SPEC},
    }
    assert stored["status"] == {"replicas": 0}


def test_a_service_is_filled_in_as_recorded() -> None:
    spec = created(SERVICES, service(type="NodePort", sessionAffinity="ClientIP"))["spec"]
    assert spec["ports"] == [{"protocol": "TCP", "port": 80, "targetPort": 80}]
    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    assert spec["externalTrafficPolicy"] == "Cluster"


def test_a_job_selects_its_own_pods() -> None:
    stored = created(JOBS, {"metadata": {"name": "j"}, "spec": {"template": {"spec": pod_spec(restartPolicy="Never")}}})
    uid = stored["metadata"]["uid"]
    assert stored["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert stored["spec"]["template"]["metadata"]["labels"]["job-name"] == "j"
    assert (stored["spec"]["completions"], stored["spec"]["parallelism"], stored["spec"]["backoffLimit"]) == (1, 1, 6)


def test_the_token_is_mounted_where_nothing_else_is() -> None:
    admitted = with_pod_admission(with_defaults(pod()), token_volume="kube-api-access-abcde")
    assert admitted["spec"]["volumes"][0]["name"] == "kube-api-access-abcde"
    assert admitted["spec"]["containers"][0]["volumeMounts"][0]["mountPath"].startswith("/var/run/secrets")
    refused = with_pod_admission(with_defaults(pod(automountServiceAccountToken=False)), token_volume="t")
    assert "volumes" not in refused["spec"]


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("nginx@sha256:0123", "IfNotPresent"),
    ],
)
def test_only_latest_is_always_pulled(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


OBJECTS: list[Any] = [pod(), pod(volumes=[{"name": "v"}]), deployment(), service(), service(type="LoadBalancer")]


@pytest.mark.parametrize("written", OBJECTS)
def test_defaults_are_filled_in_once(written: Any) -> None:
    once = with_defaults(written)
    assert with_defaults(once) == once


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1500m", "1500m"),
        ("100M", "100M"),
        ("0", "0"),
        ("1e3", "1e3"),
        ("2048", "2048"),
        ("-1", "-1"),
        ("1000k", "1M"),
    ],
)
def test_a_quantity_is_stored_in_one_spelling(text: str, stored: str) -> None:
    assert canonical(text) == stored


@given(st.integers(-(10**15), 10**15), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi", "u", "e3"]))
def test_the_canonical_spelling_means_the_same(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    assert amount_of(canonical(text)) == amount_of(text)
    assert canonical(canonical(text)) == canonical(text)


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "1KiB", " 1", "1 ", "१", "1e9999", "9" * 80])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantities must match"):
        amount_of(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (600, "10m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 240, "3h4m"),
        (9 * 3600, "9h"),
        (50 * 3600, "2d2h"),
        (9 * 86400, "9d"),
        (800 * 86400, "2y70d"),
        (3000 * 86400, "8y"),
    ],
)
def test_ages_read_as_kubectl_writes_them(seconds: int, text: str) -> None:
    assert duration_text(seconds) == text
