"""What people do to objects with a real kubectl."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
import yaml
from fake_nodes import FakeNode, resource
from kubectls import Kubectl

from trenza.cluster.kinds.resources import RESOURCES
from trenza.cluster.server.registry import Writer
from trenza.cluster.server.server import Server

pytestmark = pytest.mark.anyio

SETTINGS = """
kind: ConfigMap
apiVersion: v1
metadata: {name: settings, labels: {app: web}}
data: {colour: red, size: "3"}
"""
WEB = """
kind: Deployment
apiVersion: apps/v1
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: apache, image: host, ports: [{containerPort: 80}]}]}
---
kind: Service
apiVersion: v1
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


async def test_get_shows_every_form_of_output(kubectl: Kubectl, node: FakeNode) -> None:
    await kubectl("apply", "-f", "-", given=WEB)
    await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    rows = (await kubectl("get", "pods")).splitlines()
    assert rows[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [row.split()[1:3] for row in rows[1:]] == [["1/1", "Running"]] * 2
    assert "larrain" in await kubectl("get", "pods", "-o", "wide")
    assert (await kubectl("get", "deploy", "web", "-o", "name")).strip() == "deployment.apps/web"
    assert (await kubectl("get", "svc", "web", "-o", "jsonpath={.spec.ports[0].port}")) == "80"
    assert (await kubectl("get", "deploy", "-o", "custom-columns=N:.metadata.name")).split() == ["N", "web"]
    assert (await kubectl("get", "pods", "-o", "go-template={{len .items}}")) == "2"
    for form in ("yaml", *(("kyaml",) if kubectl.minor >= 36 else ())):
        assert yaml.safe_load(await kubectl("get", "deploy", "web", "-o", form))["spec"]["replicas"] == 2
    assert len((await kubectl.json("get", "pods", "-l", "app=web"))["items"]) == 2
    assert (await kubectl.json("get", "pods", "-l", "app!=web"))["items"] == []
    assert "web" in (await kubectl("get", "pods", "--show-labels"))
    assert "app=web" in (await kubectl("get", "pods", "--show-labels"))
    assert (await kubectl("get", "pods", "--field-selector=status.phase=Running", "--no-headers")).count("\n") == 2
    assert "service/web" in await kubectl("get", "all")
    names = (await kubectl("get", "ns", "--sort-by=.metadata.name", "-o", "name")).split()
    assert names == sorted(names)
    assert (
        await kubectl.try_("get", "pod", "absent")
    ).err.strip() == 'Error from server (NotFound): pods "absent" not found'
    assert "the server doesn't have a resource type" in (await kubectl.try_("get", "unicorns")).err
    assert (await kubectl("get", "--raw", "/healthz")) == "ok"


async def test_describe_tells_about_objects_and_their_events(kubectl: Kubectl, node: FakeNode) -> None:
    await kubectl("apply", "-f", "-", given=WEB)
    await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    told = await kubectl("describe", "deployment", "web")
    assert "Scaled up replica set" in told
    assert re.search(r"Replicas:\s+2 desired \| 2 updated \| 2 total \| 2 available", told)
    told = await kubectl("describe", "pods", "-l", "app=web", "--show-events=true")  # of many, 1.36 leaves them out
    assert "Successfully assigned default/web-" in told
    told = await kubectl("describe", "service", "web")
    assert re.search(r"Endpoints:\s+172\.16\.0\.\d+:80", told)
    told = await kubectl("describe", "node", "larrain")
    assert "Non-terminated Pods:" in told
    for kind in ("ns", "rs", "ep", "sa", "cm"):
        await kubectl("describe", kind)
    assert "Successfully assigned" in await kubectl("get", "events")
    if kubectl.minor >= 26:
        assert "Successfully assigned" in await kubectl("events")


async def test_create_has_a_command_for_each_kind(kubectl: Kubectl) -> None:
    for words in (
        "namespace here",
        "configmap c --from-literal=a=b",
        "secret generic s --from-literal=password=x",
        "serviceaccount robot",
        "deployment d --image=host --replicas=0",
        "job j --image=host -- true",
        "service clusterip ip --tcp=80:8080",
        "service nodeport np --tcp=80",
    ):
        assert "created" in await kubectl("create", *words.split())
    assert (await kubectl.json("get", "cm", "c"))["data"] == {"a": "b"}
    assert (await kubectl.json("get", "secret", "s"))["data"] == {"password": "eA=="}
    port = (await kubectl.json("get", "svc", "np"))["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    again = await kubectl.try_("create", "configmap", "c")
    assert again.err.strip() in (
        'Error from server (AlreadyExists): configmaps "c" already exists',
        'error: failed to create configmap: configmaps "c" already exists',
    )
    wrong = await kubectl.try_("create", "-f", "-", given=SETTINGS.replace("settings", "Wrong_Name"))
    assert "a lowercase RFC 1123 subdomain" in wrong.err
    if kubectl.minor >= 24:
        token = (await kubectl("create", "token", "robot")).strip()
        asked = await kubectl.try_(
            "get",
            "pods",
            "--kubeconfig=/dev/null",
            f"--server={await server_of(kubectl)}",
            "--insecure-skip-tls-verify",
            f"--token={token}",
        )
        assert 'User "system:serviceaccount:default:robot" cannot list resource "pods"' in asked.err


async def server_of(kubectl: Kubectl) -> str:
    return (await kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")).strip()


async def test_strict_validation_names_the_field(kubectl: Kubectl) -> None:
    strange = SETTINGS.replace("\ndata:", "\ndta: {a: b}\ndata:")
    refused = await kubectl.try_("create", "-f", "-", given=strange)
    assert refused.code != 0
    assert "dta" in refused.err
    assert "created" in await kubectl("create", "--validate=false", "-f", "-", given=strange)


async def test_apply_remembers_what_was_applied(kubectl: Kubectl) -> None:
    assert "created" in await kubectl("apply", "-f", "-", given=SETTINGS)
    assert "unchanged" in await kubectl("apply", "-f", "-", given=SETTINGS)
    await kubectl("annotate", "cm", "settings", "note=kept")
    assert "configured" in await kubectl("apply", "-f", "-", given=SETTINGS.replace(', size: "3"', ""))
    found = await kubectl.json("get", "cm", "settings")
    assert found["data"] == {"colour": "red"}
    assert found["metadata"]["annotations"]["note"] == "kept"
    # Kinds that 1.20 would prune by itself are long gone.
    only = "--prune-whitelist=core/v1/ConfigMap" if kubectl.minor < 26 else "--prune-allowlist=core/v1/ConfigMap"
    other = SETTINGS.replace("settings", "other")
    pruned = await kubectl("apply", "--prune", only, "-l", "app=web", "-f", "-", given=other)
    assert "configmap/settings pruned" in pruned


async def test_diff_shows_what_apply_would_change(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=SETTINGS)
    assert (await kubectl.try_("diff", "-f", "-", given=SETTINGS)).code == 0
    changed = await kubectl.try_("diff", "-f", "-", given=SETTINGS.replace("red", "blue"))
    assert changed.code == 1
    assert "-  colour: red" in changed.out
    assert "+  colour: blue" in changed.out
    assert (await kubectl.json("get", "cm", "settings"))["data"]["colour"] == "red"


async def test_server_side_apply_keeps_owners_apart(kubectl: Kubectl) -> None:
    await kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", given=SETTINGS)
    mine = SETTINGS.replace("red", "blue").replace(', size: "3"', "")
    refused = await kubectl.try_("apply", "--server-side", "--field-manager=two", "-f", "-", given=mine)
    assert 'conflict with "one"' in refused.err
    assert ".data.colour" in refused.err
    await kubectl("apply", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-", given=mine)
    found = await kubectl.json("get", "cm", "settings")
    assert found["data"] == {"colour": "blue", "size": "3"}


async def test_every_type_of_patch(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=WEB)
    merge = {"metadata": {"labels": {"a": "1"}}}
    await kubectl("patch", "deploy", "web", "--type=merge", "-p", json.dumps(merge))
    operations = [
        {"op": "replace", "path": "/spec/replicas", "value": 3},
        {"op": "test", "path": "/kind", "value": "Deployment"},
    ]
    await kubectl("patch", "deploy", "web", "--type=json", "-p", json.dumps(operations))
    containers = [{"name": "apache", "env": [{"name": "A", "value": "b"}]}, {"name": "side", "image": "host"}]
    strategic = {"spec": {"template": {"spec": {"containers": containers}}}}
    await kubectl("patch", "deploy", "web", "-p", json.dumps(strategic))
    found = await kubectl.json("get", "deploy", "web")
    assert found["metadata"]["labels"]["a"] == "1"
    assert found["spec"]["replicas"] == 3
    by_name = {one["name"]: one for one in found["spec"]["template"]["spec"]["containers"]}
    assert by_name["apache"]["image"] == "host"
    assert by_name["apache"]["env"] == [{"name": "A", "value": "b"}]
    assert set(by_name) == {"apache", "side"}
    failing = await kubectl.try_(
        "patch", "deploy", "web", "--type=json", "-p", '[{"op": "test", "path": "/kind", "value": "x"}]'
    )
    assert failing.code == 1
    assert "rejected our request" in failing.err or "The request is invalid" in failing.err
    immutable = {"spec": {"selector": {"matchLabels": {"other": "x"}}}}
    assert "field is immutable" in (await kubectl.try_("patch", "deploy", "web", "-p", json.dumps(immutable))).err


async def test_edit_writes_what_the_editor_left(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=SETTINGS)
    assert "edited" in await kubectl("edit", "cm", "settings", KUBE_EDITOR="sed -i s/red/green/")
    assert (await kubectl.json("get", "cm", "settings"))["data"]["colour"] == "green"


async def test_replace_needs_the_current_version(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", given=SETTINGS)
    found = await kubectl.json("get", "cm", "settings")
    found["data"]["colour"] = "blue"
    await kubectl("replace", "-f", "-", given=json.dumps(found))
    found["data"]["colour"] = "late"
    refused = await kubectl.try_("replace", "-f", "-", given=json.dumps(found))
    assert "the object has been modified; please apply your changes to the latest version" in refused.err
    before = (await kubectl.json("get", "cm", "settings"))["metadata"]["uid"]
    await kubectl("replace", "--force", "-f", "-", given=SETTINGS)
    assert (await kubectl.json("get", "cm", "settings"))["metadata"]["uid"] != before


async def test_label_and_annotate(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", given=SETTINGS)
    await kubectl("label", "cm", "settings", "tier=front")
    assert "tier" in (await kubectl.try_("label", "cm", "settings", "tier=back")).err
    await kubectl("label", "cm", "settings", "tier=back", "--overwrite")
    assert (await kubectl("get", "cm", "-l", "tier in (back)", "-o", "name")).strip() == "configmap/settings"
    await kubectl("label", "cm", "settings", "tier-")
    await kubectl("annotate", "cm", "--all", "why=because")
    found = (await kubectl.json("get", "cm", "settings"))["metadata"]
    assert found["labels"] == {"app": "web"}
    assert found["annotations"]["why"] == "because"


async def test_delete_and_its_options(kubectl: Kubectl, node: FakeNode) -> None:
    await kubectl("apply", "-f", "-", given=WEB)
    await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    assert 'service "web" deleted' in await kubectl("delete", "svc", "web")
    pod = (await kubectl("get", "pods", "-o", "name")).split()[0]
    await kubectl("delete", pod, "--grace-period=0", "--force")
    await kubectl("delete", "pods", "-l", "app=web")
    orphaning = "--cascade=orphan" if kubectl.minor >= 20 else "--cascade=false"
    await kubectl("delete", "deploy", "web", orphaning)
    assert (await kubectl("get", "rs", "-o", "name")).startswith("replicaset.apps/web-")
    await kubectl("delete", "rs", "--all", "--cascade=foreground")
    assert (await kubectl("get", "rs", "-o", "name")) == ""
    assert (await kubectl("get", "pods", "-o", "name")) == ""
    assert "NotFound" in (await kubectl.try_("delete", "pod", "absent")).err
    await kubectl("delete", "pod", "absent", "--ignore-not-found")


async def test_a_deleted_namespace_takes_everything_along(kubectl: Kubectl, node: FakeNode) -> None:
    await kubectl("create", "namespace", "short")
    await kubectl("-n", "short", "apply", "-f", "-", given=WEB)
    await kubectl("-n", "short", "rollout", "status", "deployment/web", "--timeout=20s")
    await kubectl("delete", "namespace", "short", "--timeout=20s")
    assert (await kubectl("get", "all", "-n", "short", "--ignore-not-found")) == ""
    assert "NotFound" in (await kubectl.try_("get", "ns", "short")).err
    missing = await kubectl.try_("-n", "short", "create", "-f", "-", given=SETTINGS)
    assert 'namespaces "short" not found' in missing.err
    assert "may not be deleted" in (await kubectl.try_("delete", "namespace", "kube-system")).err


async def test_run_and_expose(kubectl: Kubectl, node: FakeNode) -> None:
    await kubectl("run", "one", "--image=host", "--port=80", "--labels=app=one", "--env=A=b", "--", "sleep", "inf")
    await kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=10s")
    await kubectl("expose", "pod", "one", "--port=8080", "--target-port=80")
    assert (await kubectl.json("get", "svc", "one"))["spec"]["selector"] == {"app": "one"}
    async with asyncio.timeout(10):
        while not (await kubectl.json("get", "endpoints", "one")).get("subsets"):
            await asyncio.sleep(0.05)


async def test_explain_and_api_resources(kubectl: Kubectl) -> None:
    assert "Pod is a collection of containers" in await kubectl("explain", "pods")
    assert "restartPolicy" in await kubectl("explain", "pod.spec")
    assert "maxSurge" in await kubectl("explain", "deployment.spec.strategy.rollingUpdate")
    assert "apiVersion" in await kubectl("explain", "job", "--recursive")
    listed = await kubectl("api-resources", "--no-headers")
    listable = {resource.plural for resource in RESOURCES if "list" in resource.verbs}
    assert listable <= {line.split()[0] for line in listed.splitlines()}
    assert "apps/v1" in (await kubectl("api-versions")).split()
    assert "is running at" in await kubectl("cluster-info")


async def test_a_container_is_added_to_a_pod_and_stays_as_it_is(kubectl: Kubectl, node: FakeNode) -> None:
    if kubectl.minor < 32:
        pytest.skip("this kubectl is older than 1.32: it asks for a subresource of its time, which is no more")
    await kubectl("run", "one", "--image=host")
    await kubectl("debug", "one", "--image=host", "-c", "look", "--target=one", "--", "true")
    (added,) = (await kubectl.json("get", "pod", "one"))["spec"]["ephemeralContainers"]
    assert (added["name"], added["command"], added["targetContainerName"]) == ("look", ["true"], "one")
    assert added["terminationMessagePath"] == "/dev/termination-log"
    assert "Ephemeral Containers:" in await kubectl("describe", "pod", "one")
    await kubectl("label", "pod", "one", "seen=yes")
    for words, why in (
        (("debug", "one", "--image=host", "-c", "one"), 'spec.ephemeralContainers[1].name: Duplicate value: "one"'),
        (("debug", "one", "--image=host", "--target=two"), 'targetContainerName: Not found: "two"'),
    ):
        assert why in (await kubectl.try_(*words)).err
    url = "/api/v1/namespaces/default/pods/one/ephemeralcontainers"
    shown = json.loads(await kubectl("get", "--raw", url))
    shown["spec"]["ephemeralContainers"] = []
    removed = await kubectl.try_("replace", "--raw", url, "-f", "-", given=json.dumps(shown))
    assert 'existing ephemeral containers "look" may not be removed' in removed.err


async def test_what_there_is_not_is_refused_in_words(kubectl: Kubectl, node: FakeNode) -> None:
    for what in ("pods", "nodes"):
        assert "Metrics API not available" in (await kubectl.try_("top", what)).err
    for words in (
        "create quota q --hard=pods=1",
        "create role r --verb=get --resource=pods",
        "create priorityclass p --value=1",
        "autoscale deployment web --max=3",
    ):
        refused = await kubectl.try_(*words.split())
        assert refused.code == 1, words
        assert "error" in refused.err.lower(), words


async def test_auth_can_i(kubectl: Kubectl) -> None:
    assert (await kubectl("auth", "can-i", "delete", "nodes")).strip() == "yes"
    refused = await kubectl.try_("auth", "can-i", "delete", "pods", "--as=nobody")
    assert refused.out.strip() == "no"
    reader = ("--as=r", "--as-group=trenza:readers")
    assert (await kubectl("auth", "can-i", "list", "pods", *reader)).strip() == "yes"
    assert "[*]" in await kubectl("auth", "can-i", "--list")
    forbidden = await kubectl.try_("delete", "pod", "x", *reader)
    assert 'User "r" cannot delete resource "pods" in API group "" in the namespace "default"' in forbidden.err
    if kubectl.minor >= 28:
        assert "kubernetes-admin" in await kubectl("auth", "whoami")


async def test_a_watch_tells_what_happens(kubectl: Kubectl) -> None:
    process = await kubectl.start("get", "cm", "-w", "-o", "name", "-l", "app=web")
    try:
        async with asyncio.timeout(20):
            await kubectl("create", "-f", "-", given=SETTINGS)
            assert await process.stdout.readline() == b"configmap/settings\n"
            await kubectl("label", "cm", "settings", "app-")
            assert await process.stdout.readline() == b"configmap/settings\n"
    finally:
        process.kill()
        await process.wait()


async def test_cordon_and_drain(kubectl: Kubectl, node: FakeNode) -> None:
    await kubectl("apply", "-f", "-", given=WEB)
    await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    await kubectl("cordon", "larrain")
    assert "SchedulingDisabled" in await kubectl("get", "nodes")
    drained = await kubectl("drain", "larrain", "--timeout=20s")
    assert "evicted" in drained
    rows = (await kubectl("get", "pods", "--no-headers")).splitlines()
    assert {row.split()[2] for row in rows} == {"Pending"}
    await kubectl("uncordon", "larrain")
    await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    await kubectl("taint", "nodes", "larrain", "k=v:NoSchedule")
    assert (await kubectl.json("get", "node", "larrain"))["spec"]["taints"] == [
        {"effect": "NoSchedule", "key": "k", "value": "v"}
    ]


@pytest.mark.parametrize("kubectl", ["1.32"], indirect=True)
async def test_ten_thousand_objects(kubectl: Kubectl, server: Server) -> None:
    maps, writer = resource("configmaps"), Writer("tests")

    async def create(numbers: range) -> None:
        for number in numbers:
            metadata = {"name": f"m-{number}", "namespace": "default", "labels": {"third": str(number % 3)}}
            written = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata}
            await server.registry.create(maps, written, writer)

    await asyncio.gather(*(create(range(begin, 10_000, 32)) for begin in range(32)))
    assert (await kubectl("get", "cm", "-o", "name")).count("\n") == 10_001
    assert (await kubectl("get", "cm", "--chunk-size=100", "-l", "third=0", "--no-headers")).count("\n") == 3_334
    process = await kubectl.start("get", "cm", "-w", "--no-headers")
    try:
        async with asyncio.timeout(30):
            for _ in range(10_001):
                assert await process.stdout.readline()
    finally:
        process.kill()
        await process.wait()
