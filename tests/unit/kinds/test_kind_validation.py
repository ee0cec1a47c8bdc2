"""What is refused, in the words of a real server."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from kind_examples import (
    CONFIG_MAPS,
    CONTROLLERS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    SERVICES,
    created,
    deployment,
    pod,
    pod_spec,
    service,
)

from trenza.cluster.kinds.defaults import with_defaults
from trenza.cluster.kinds.resources import Object, Resource
from trenza.cluster.kinds.status import ApiError
from trenza.cluster.kinds.strategies import for_update, with_ephemeral
from trenza.cluster.kinds.validation.objects import validate_ephemeral, validate_request, validate_update

DNS_1035 = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
TWO_PORTS: list[Object] = [{"port": 80}, {"port": 81}]

RECORDED: list[tuple[Resource, Object, str]] = [
    (
        CONFIG_MAPS,
        {"metadata": {}},
        'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required',
    ),
    (
        SERVICES,
        service(ports=TWO_PORTS, name="s5"),
        'Service "s5" is invalid: [spec.ports[0].name: Required value, spec.ports[1].name: Required value]',
    ),
    (
        SERVICES,
        service("s3", [{"port": 80, "nodePort": 80}], type="NodePort"),
        'Service "s3" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. '
        "The range of valid ports is 30000-32767",
    ),
    (SERVICES, service("9Svc"), f'Service "9Svc" is invalid: metadata.name: Invalid value: "9Svc": {DNS_1035}'),
    (
        DEPLOYMENTS,
        deployment(labels={"a": "c"}),
        'Deployment.apps "d" is invalid: spec.template.metadata.labels: Invalid value: map[string]string{"a":"c"}: '
        "`selector` does not match template `labels`",
    ),
]


@pytest.mark.parametrize(("resource", "written", "message"), RECORDED)
def test_a_refusal_reads_as_recorded_from_a_real_server(resource: Resource, written: Object, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        created(resource, written)
    status = refused.value.status()
    assert (status["code"], status["reason"], status["message"]) == (422, "Invalid", message)
    assert status["details"]["kind"] == resource.kind
    assert status["details"].get("group", "") == resource.group
    assert all(set(cause) == {"reason", "message", "field"} for cause in status["details"]["causes"])


def container(**more: Any) -> Object:
    return pod_spec(containers=[{"name": "c", "image": "x", **more}])


REFUSED: list[tuple[Resource, Object, str]] = [
    (PODS, {"metadata": {"name": "a"}, "spec": {}}, "spec.containers: Required value"),
    (PODS, pod(containers=[{"image": "x"}]), "spec.containers[0].name: Required value"),
    (PODS, pod(containers=[{"name": "c"}]), "spec.containers[0].image: Required value"),
    (PODS, pod(containers=[{"name": "c", "image": "x"}] * 2), 'spec.containers[1].name: Duplicate value: "c"'),
    (
        PODS,
        pod(restartPolicy="Sometimes"),
        'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
    ),
    (
        PODS,
        pod(**container(ports=[{"containerPort": 70000}])),
        "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
    ),
    (
        PODS,
        pod(**container(volumeMounts=[{"name": "v", "mountPath": "/v"}])),
        'spec.containers[0].volumeMounts[0].name: Not found: "v"',
    ),
    (
        PODS,
        pod(**container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})),
        'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ),
    (
        PODS,
        pod(**container(livenessProbe={"periodSeconds": 1})),
        "spec.containers[0].livenessProbe: Required value: must specify a handler type",
    ),
    (PODS, pod(**container(env=[{"name": ""}])), "spec.containers[0].env[0].name: Required value"),
    (
        PODS,
        pod(volumes=[{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]),
        "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
    ),
    (
        PODS,
        pod("a") | {"metadata": {"name": "a", "labels": {"x": "-"}}},
        'metadata.labels: Invalid value: "-": a valid label must be an empty string',
    ),
    (SERVICES, {"metadata": {"name": "s"}, "spec": {}}, "spec.ports: Required value"),
    (
        SERVICES,
        service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 86401}}),
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less "
        "than 86400",
    ),
    (
        SERVICES,
        service(ports=[{"port": 80, "nodePort": 30080}]),
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    ),
    (
        SERVICES,
        service(clusterIP="x"),
        "spec.clusterIPs[0]: Invalid value: \"x\": must be empty, 'None', or a valid IP address",
    ),
    (SERVICES, service(type="ExternalName"), "spec.externalName: Required value"),
    (
        SERVICES,
        service(type="NodePort", loadBalancerSourceRanges=["10.0.0.0/8"]),
        "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
    ),
    (
        SERVICES,
        service(type="LoadBalancer", loadBalancerSourceRanges=["10.9.0.1/24", " 10.0.0.0/255.0.0.0"]),
        'spec.LoadBalancerSourceRanges[1]: Invalid value: "10.0.0.0/255.0.0.0": must be a valid CIDR value, (e.g. 10.9',
    ),
    (DEPLOYMENTS, deployment(replicas=-1), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
    (
        DEPLOYMENTS,
        deployment(selector={}),
        "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string(nil), "
        "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: empty selector is invalid for deployment",
    ),
    (
        DEPLOYMENTS,
        deployment(strategy={"type": "Recreate", "rollingUpdate": {}}),
        "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
    ),
    (
        DEPLOYMENTS,
        deployment(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
        'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0',
    ),
    (
        JOBS,
        {"metadata": {"name": "j"}, "spec": {"template": {"spec": pod_spec()}}},
        'spec.template.spec.restartPolicy: Unsupported value: "Always": supported values: "OnFailure", "Never"',
    ),
    (
        CONFIG_MAPS,
        {"metadata": {"name": "c"}, "data": {"a/b": ""}},
        'data[a/b]: Invalid value: "a/b": a valid config key',
    ),
    (NAMESPACES, {"metadata": {"name": "A"}}, 'metadata.name: Invalid value: "A": a lowercase RFC 1123 label must'),
]


@pytest.mark.parametrize(("resource", "written", "cause"), REFUSED)
def test_a_bad_field_is_named_with_its_path_and_its_rule(resource: Resource, written: Object, cause: str) -> None:
    with pytest.raises(ApiError) as refused:
        created(resource, written)
    assert refused.value.status_code == 422
    assert cause in refused.value.message


GOOD: list[tuple[Resource, Object]] = [
    (PODS, pod(hostNetwork=True, tolerations=[{"operator": "Exists"}])),
    (
        PODS,
        pod(
            **container(
                readinessProbe={"httpGet": {"port": "web"}},
                ports=[{"name": "web", "containerPort": 80}],
                env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                resources={"limits": {"cpu": "1", "memory": "1Gi"}},
            ),
            volumes=[{"name": "v", "configMap": {"name": "m"}}, {"name": "w"}],
        ),
    ),
    (SERVICES, service(clusterIP="None")),
    (SERVICES, service(type="NodePort", sessionAffinity="ClientIP")),
    (SERVICES, service(ports=[{"name": "a", "port": 53, "protocol": "UDP"}, {"name": "b", "port": 53}])),
    (SERVICES, {"metadata": {"name": "e"}, "spec": {"type": "ExternalName", "externalName": "a.example"}}),
    (DEPLOYMENTS, deployment(strategy={"type": "Recreate"})),
    (DAEMON_SETS, deployment() | {"kind": "DaemonSet"}),
    (JOBS, {"metadata": {"name": "j"}, "spec": {"template": {"spec": pod_spec(restartPolicy="Never")}}}),
    (
        CONTROLLERS,
        {"metadata": {"name": "r"}, "spec": {"template": {"metadata": {"labels": {"q": "b"}}, "spec": pod_spec()}}},
    ),
]


@pytest.mark.parametrize(("resource", "written"), GOOD)
def test_what_people_write_is_accepted(resource: Resource, written: Object) -> None:
    stored = created(resource, written)
    validate_update(resource, stored, for_update(resource, stored, stored))


def refusal_of_update(resource: Resource, old: Object, new: Object) -> str:
    with pytest.raises(ApiError) as refused:
        validate_update(resource, old, for_update(resource, old, new))
    assert refused.value.status_code == 422
    return refused.value.message


def test_containers_may_be_added_that_are_ephemeral_and_nothing_else() -> None:
    old = created(PODS, pod("a", **container()))

    def added(**more: Any) -> Object:
        new = copy.deepcopy(old)
        new["spec"]["ephemeralContainers"] = [{"name": "look", "image": "host", **more}]
        return with_defaults({"apiVersion": "v1", "kind": "Pod", **with_ephemeral(old, new)})

    good = added(command=["sh"], tty=True, targetContainerName="c")
    validate_ephemeral(PODS, old, good)
    validate_update(PODS, good, for_update(PODS, good, good))
    assert "may not change" in refusal_of_update(PODS, old, good)  # not by its own path
    for wrong, why in (
        (added(ports=[{"containerPort": 80}]), "[0].ports: Forbidden: cannot be set for an Ephemeral Container"),
        (added(targetContainerName="x"), '[0].targetContainerName: Not found: "x"'),
        (added(name="c"), '[0].name: Duplicate value: "c"'),
        (added(image=""), "[0].image: Required value"),
    ):
        with pytest.raises(ApiError) as refused:
            validate_ephemeral(PODS, old, wrong)
        assert f"spec.ephemeralContainers{why}" in refused.value.message
    for changed, why in ((old, "removed"), (added(command=["bash"]), "changed")):
        with pytest.raises(ApiError, match=f'existing ephemeral containers "look" may not be {why}'):
            validate_ephemeral(PODS, good, changed)


def test_a_services_address_may_not_change_once_set() -> None:
    old = created(SERVICES, service("s6", clusterIP="10.0.0.221"))
    new = copy.deepcopy(old)
    new["spec"]["clusterIP"] = "10.0.0.99"
    assert refusal_of_update(SERVICES, old, new) == (
        'Service "s6" is invalid: spec.clusterIPs[0]: Invalid value: []string{"10.0.0.99"}: may not change once set'
    )


def test_an_apply_that_does_not_mention_addresses_keeps_them() -> None:
    old = created(SERVICES, service(type="NodePort", clusterIP="10.0.0.7", ports=[{"port": 80, "nodePort": 30080}]))
    new = for_update(SERVICES, old, service(type="NodePort", ports=[{"port": 80, "protocol": "TCP"}]))
    assert new["spec"]["clusterIP"] == "10.0.0.7"
    assert new["spec"]["clusterIPs"] == ["10.0.0.7"]
    assert new["spec"]["ports"][0]["nodePort"] == 30080


def test_a_selector_may_not_change() -> None:
    old = created(DEPLOYMENTS, deployment())
    new = copy.deepcopy(old)
    new["spec"]["selector"] = {"matchLabels": {"a": "z"}}
    assert (
        'spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{"a":"z"}, '
        "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable"
    ) in refusal_of_update(DEPLOYMENTS, old, new)


def test_a_pod_may_change_its_image_and_nothing_else() -> None:
    old = created(PODS, pod())
    new = copy.deepcopy(old)
    new["spec"]["containers"][0]["image"] = "y"
    new["spec"]["tolerations"] = [{"key": "k", "operator": "Exists"}]
    validate_update(PODS, old, for_update(PODS, old, new))
    new["spec"]["containers"][0]["command"] = ["z"]
    message = refusal_of_update(PODS, old, new)
    assert message.startswith(
        'Pod "a" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`'
    )
    assert '+ spec.containers[0].command: ["z"]' in message


def test_an_immutable_config_map_stays() -> None:
    old = created(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"a": "b"}, "immutable": True})
    new = copy.deepcopy(old) | {"data": {"a": "c"}}
    assert "data: Forbidden: field is immutable when `immutable` is set" in refusal_of_update(CONFIG_MAPS, old, new)


def test_the_generation_counts_changes_of_the_spec_only() -> None:
    old = created(DEPLOYMENTS, deployment())
    relabelled = copy.deepcopy(old)
    relabelled["metadata"]["labels"] = {"x": "y"}
    scaled = copy.deepcopy(old)
    scaled["spec"]["replicas"] = 5
    scaled["status"] = {"replicas": 9}
    assert for_update(DEPLOYMENTS, old, relabelled)["metadata"]["generation"] == 1
    updated = for_update(DEPLOYMENTS, old, scaled)
    assert updated["metadata"]["generation"] == 2
    assert updated["status"] == old["status"]


def test_requests_that_are_never_stored_are_checked_too() -> None:
    with pytest.raises(ApiError, match=r"target\.name: Required value"):
        validate_request("Binding", {"kind": "Binding", "metadata": {"name": "a"}})
    with pytest.raises(ApiError, match="less than 10 minutes"):
        validate_request("TokenRequest", {"kind": "TokenRequest", "spec": {"expirationSeconds": 5}})
