"""The documents that say what there is: resources, schemas, refusals."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from kind_examples import CONFIG_MAPS, PODS, SERVICES

from trenza.cluster.kinds import discovery, openapi, status
from trenza.cluster.kinds.fields import definitions, find_definition
from trenza.cluster.kinds.names import generated_name, new_uid, seconds_of, timestamp
from trenza.cluster.kinds.resources import RESOURCES, find_resource, group_versions
from trenza.cluster.kinds.strategies import addressed, for_creation, named, scale_of


def test_keys_are_laid_out_as_kubernetes_does() -> None:
    assert PODS.key("default", "a") == "/registry/pods/default/a"
    assert SERVICES.key("n", "s") == "/registry/services/specs/n/s"
    kept = {one.group_plural: one.prefix() for one in RESOURCES}
    assert kept["/nodes"] == "/registry/minions/"
    assert kept["/replicationcontrollers"] == "/registry/controllers/"
    assert kept["/endpoints"] == "/registry/services/endpoints/"
    assert (
        find_resource("coordination.k8s.io", "v1", "leases").prefix("kube-node-lease")
        == "/registry/leases/kube-node-lease/"
    )


# What kubectl asks for in its recorded walks, by group and version; each must be there.
ASKED = {
    ("", "v1"): "componentstatuses? configmaps endpoints events limitranges namespaces nodes persistentvolumeclaims "
    "persistentvolumes pods replicationcontrollers resourcequotas secrets serviceaccounts services",
    ("apps", "v1"): "daemonsets deployments replicasets statefulsets",
    ("autoscaling", "v1"): "horizontalpodautoscalers",
    ("autoscaling", "v2"): "horizontalpodautoscalers",
    ("batch", "v1"): "cronjobs jobs",
    ("authentication.k8s.io", "v1"): "selfsubjectreviews",
    ("authorization.k8s.io", "v1"): "selfsubjectaccessreviews",
    ("coordination.k8s.io", "v1"): "leases",
    ("discovery.k8s.io", "v1"): "endpointslices",
    ("networking.k8s.io", "v1"): "ingresses networkpolicies",
    ("storage.k8s.io", "v1"): "storageclasses",
}


def test_what_kubectl_asks_for_is_listed() -> None:
    for (group, version), plurals in ASKED.items():
        listed = discovery.find_resource_list(group, version)
        assert listed is not None
        names = {one["name"] for one in listed["resources"]}
        assert {one for one in plurals.split() if not one.endswith("?")} <= names
    assert discovery.find_resource_list("foo.io", "v1") is None
    assert discovery.find_api_group("foo.io") is None


def test_get_all_means_what_it_means_elsewhere() -> None:
    everywhere = {one.plural for one in RESOURCES if "all" in one.categories}
    workloads = "daemonsets deployments replicasets statefulsets cronjobs jobs"
    assert everywhere == set(f"pods replicationcontrollers services horizontalpodautoscalers {workloads}".split())


def test_drain_finds_evictions() -> None:
    listed = discovery.find_resource_list("", "v1")
    assert listed is not None
    eviction = next(one for one in listed["resources"] if one["name"] == "pods/eviction")
    assert (eviction["kind"], eviction["group"], eviction["version"]) == ("Eviction", "policy", "v1")
    assert "policy" in {group["name"] for group in discovery.api_group_list()["groups"]}


def test_the_aggregated_documents_say_the_same_as_the_old_ones() -> None:
    for version in ("v2", "v2beta1"):
        items = [
            *discovery.aggregated(core=True, version=version)["items"],
            *discovery.aggregated(core=False, version=version)["items"],
        ]
        found = {
            (item["metadata"].get("name", ""), served["version"]): {
                *(one["resource"] for one in served["resources"]),
                *(
                    f"{one['resource']}/{below['subresource']}"
                    for one in served["resources"]
                    for below in one.get("subresources", ())
                ),
            }
            for item in items
            for served in item["versions"]
        }
        assert list(found) == list(group_versions())
        for (group, served_version), names in found.items():
            listed = discovery.find_resource_list(group, served_version)
            assert listed is not None
            assert {one["name"] for one in listed["resources"]} == names


def test_the_version_is_one_that_clients_can_read() -> None:
    document = discovery.version_document()
    assert (document["major"], document["minor"]) == ("1", "32")
    assert document["gitVersion"].startswith("v1.32.")


def test_every_schema_refers_only_to_schemas_that_are_there() -> None:
    for one in RESOURCES:
        assert find_definition(one.api_version, one.kind) is not None
        document = json.loads(openapi.openapi_v3(one.group, one.version) or b"")
        text = json.dumps(document)
        schemas = document["components"]["schemas"]
        referred = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
        assert referred <= set(schemas)
        patches = [item["patch"] for item in document["paths"].values() if "patch" in item]
        for patch in patches:
            assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}
            assert patch["x-kubernetes-group-version-kind"]["version"] == one.version
        assert bool(patches) is any(
            "patch" in each.verbs for each in RESOURCES if (each.group, each.version) == (one.group, one.version)
        )
    assert openapi.openapi_v3("foo.io", "v1") is None


def test_the_index_changes_with_its_documents_and_names_them_all() -> None:
    paths = openapi.openapi_v3_index()["paths"]
    assert set(paths) == {f"apis/{group}/{version}" if group else "api/v1" for group, version in group_versions()}
    assert all("?hash=" in one["serverRelativeURL"] for one in paths.values())


def test_the_old_document_is_the_same_in_json_and_protobuf() -> None:
    document = json.loads(openapi.openapi_v2_json())
    assert document["swagger"] == "2.0"
    assert set(document["definitions"]) == set(definitions())
    packed = openapi.openapi_v2_protobuf()
    for name in definitions():
        assert name.encode() in packed
    assert packed[:5] == b"\x0a\x032.0"


RECORDED: list[tuple[status.ApiError, dict[str, Any]]] = [
    (
        status.not_found(CONFIG_MAPS, "ap"),
        {
            "code": 404,
            "reason": "NotFound",
            "message": 'configmaps "ap" not found',
            "details": {"name": "ap", "kind": "configmaps"},
        },
    ),
    (
        status.conflict(PODS, "a"),
        {
            "code": 409,
            "reason": "Conflict",
            "message": 'Operation cannot be fulfilled on pods "a": the object has been modified; please apply your '
            "changes to the latest version and try again",
            "details": {"name": "a", "kind": "pods"},
        },
    ),
    (
        status.forbidden("system:anonymous", "list", PODS),
        {
            "code": 403,
            "reason": "Forbidden",
            "message": 'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" '
            "at the cluster scope",
            "details": {"kind": "pods"},
        },
    ),
    (status.unauthorized(), {"code": 401, "reason": "Unauthorized", "message": "Unauthorized"}),
    (
        status.method_not_allowed(),
        {
            "code": 405,
            "reason": "MethodNotAllowed",
            "message": "the server does not allow this method on the requested resource",
            "details": {},
        },
    ),
    (
        status.no_such_path(),
        {
            "code": 404,
            "reason": "NotFound",
            "message": "the server could not find the requested resource",
            "details": {},
        },
    ),
    (
        status.not_acceptable(),
        {"code": 406, "reason": "NotAcceptable", "message": "406: Not Acceptable", "details": {}},
    ),
    (
        status.version_on_create(),
        {"code": 500, "message": "resourceVersion should not be set on objects to be created"},
    ),
    (
        status.version_too_large(99999999, 7162),
        {
            "code": 504,
            "reason": "Timeout",
            "message": "Timeout: Too large resource version: 99999999, current: 7162",
            "details": {
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                "retryAfterSeconds": 1,
            },
        },
    ),
    (
        status.bad_version("abc"),
        {
            "code": 500,
            "message": 'resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax',
        },
    ),
    (status.too_old(1, 4052), {"code": 410, "reason": "Expired", "message": "too old resource version: 1 (4052)"}),
    (
        status.expired(),
        {"code": 410, "reason": "Expired", "message": "The resourceVersion for the provided list is too old."},
    ),
    (
        status.name_mismatch("a", "b"),
        {
            "code": 400,
            "reason": "BadRequest",
            "message": "the name of the object (a) does not match the name on the URL (b)",
        },
    ),
    (
        status.namespace_mismatch(),
        {
            "code": 400,
            "reason": "BadRequest",
            "message": "the namespace of the provided object does not match the namespace sent on the request",
        },
    ),
]


@pytest.mark.parametrize(("error", "recorded"), RECORDED)
def test_a_status_reads_as_recorded(error: status.ApiError, recorded: dict[str, Any]) -> None:
    fixed = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    assert error.status() == fixed | recorded


def test_names_are_made_and_times_are_written() -> None:
    random = Random(1)
    name = generated_name("g-", random)
    assert name.startswith("g-")
    assert len(name) == 7
    assert len(generated_name("x" * 80, random)) == 63
    assert new_uid(random)[14] == "4"
    assert seconds_of(timestamp(1_800_000_000)) == 1_800_000_000
    assert seconds_of("2020-01-01T00:00:00.123456Z") == 1577836800.123456
    assert seconds_of("2020-01-01T00:00:00") is None


def test_a_new_object_gets_a_name_a_uid_and_no_version() -> None:
    written = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"generateName": "g-"}}
    stored = for_creation(CONFIG_MAPS, named(addressed(CONFIG_MAPS, written, "n"), Random(1)), 0, Random(2))
    assert stored["metadata"]["namespace"] == "n"
    assert stored["metadata"]["name"].startswith("g-")
    with pytest.raises(status.ApiError, match="should not be set"):
        for_creation(CONFIG_MAPS, {"metadata": {"name": "a", "resourceVersion": "5"}}, 0, Random(1))


def test_a_scale_says_which_pods_it_counts() -> None:
    deployments = find_resource("apps", "v1", "deployments")
    assert deployments is not None
    live = {
        "metadata": {"name": "d", "namespace": "n", "resourceVersion": "7"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}},
        "status": {"replicas": 2},
    }
    scale = scale_of(deployments, live)
    assert (scale["spec"], scale["status"]) == ({"replicas": 3}, {"replicas": 2, "selector": "a=b"})
