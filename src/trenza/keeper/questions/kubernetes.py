"""Objects of the lab's cluster: what its API server tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trenza.check.verdict import Finding, Said, failed, passed, same
from trenza.cluster.controllers.pods import is_ready
from trenza.keeper.cluster_objects import ClusterObjects
from trenza.keeper.manifests import pods_of
from trenza.keeper.pods import served_by
from trenza.keeper.scene import Scene
from trenza.keeper.unready import Object, Trouble, not_ready, trouble_of
from trenza.model.checks import KubernetesObject
from trenza.model.cluster import KINDS

_SHOWN = 10
_BY_LABELS = ("services", "replicationcontrollers")
_OF_PODS = (*_BY_LABELS, "deployments", "replicasets", "daemonsets", "jobs")
"""The kinds with a selector of pods, in plain labels or in a selector's own words."""

_MADE_BY_PEOPLE = ("configmaps", "daemonsets", "deployments", "jobs", "replicationcontrollers", "secrets", "services")
_MAKERS = ("daemonsets", "deployments", "jobs", "replicasets", "replicationcontrollers")


async def objects(there: ClusterObjects, scene: Scene, question: KubernetesObject) -> Finding:
    """Raises ApiError where the server does not answer."""
    asked = [one for one in await there.list(question.kind) if _is_meant(scene, question, one)]
    slices = await there.list("endpointslices") if question.endpoints is not None else ()
    wrong = {str(one["metadata"]["name"]): _wrong(question, one, slices) for one in asked}
    right = [name for name, trouble in wrong.items() if trouble is None]
    evidence: dict[str, Any] = {"objects": list(wrong)[:_SHOWN], "right": right[:_SHOWN]}
    shown = Said(f"{len(right)} of {len(wrong)}", f"{len(right)} de {len(wrong)}")
    failing = next((one for one in asked if wrong[one["metadata"]["name"]] is not None), None)
    trouble = None if failing is None else wrong[failing["metadata"]["name"]]
    asked_for = question.count if question.count is not None else question.at_least
    if asked_for is not None:
        too_many = question.count is not None and len(right) > asked_for
        if len(right) >= asked_for and not too_many:
            return passed(shown, **evidence)
        shown = Said(f"{len(right)}, not {asked_for}", f"{len(right)}, no {asked_for}")
        credit = 0.0 if too_many else len(right) / asked_for
        if too_many or trouble is None:
            trouble = Trouble(_counted(question, right, asked_for) if right else _none(question), _hint(question))
            failing = None
    elif failing is None and asked:
        return passed(shown if len(asked) > 1 else same(right[0]), **evidence)
    else:
        credit = len(right) / len(asked) if asked else 0.0
    if trouble is None:
        trouble = Trouble(_none(question), _hint(question))
        shown = trouble.said
    if not asked:
        trouble = trouble._replace(stays=not await _is_coming(there, question))
    elif failing is not None and question.kind in _OF_PODS:
        trouble = _with_pods(trouble, question.kind, failing, await there.list("pods"))
    return failed(
        shown, credit=credit, because=trouble.said, hint=trouble.look, stays=trouble.stays, **evidence
    )  # fmt: skip


async def _is_coming(there: ClusterObjects, question: KubernetesObject) -> bool:
    """Whether what is not there may come by itself: no more than people make, and pods only where some are missing."""
    if question.kind in _MADE_BY_PEOPLE:
        return False
    if question.kind != "pods":
        return True
    if any("nodeName" not in one["spec"] for one in await there.list("pods")):
        return True
    for kind in _MAKERS:
        for one in await there.list(kind):
            ready, asked_for = pods_of(one)
            if ready < asked_for:
                return True
    return False


def _with_pods(trouble: Trouble, kind: str, one: Object, pods: Sequence[Object]) -> Trouble:
    """What is wrong with what stands for pods, and with the first of these that is not Ready."""
    from trenza.cluster.kinds.selectors import selector_of, selector_of_labels

    written = one["spec"].get("selector")
    selector = (selector_of_labels if kind in _BY_LABELS else selector_of)(written)
    metadata = one["metadata"]
    for pod in pods:
        mine = pod["metadata"]["namespace"] == metadata["namespace"] and selector.holds(pod["metadata"].get("labels"))
        if mine and not is_ready(pod) and "deletionTimestamp" not in pod["metadata"]:
            why = not_ready(pod)
            said = Said(f"{trouble.said.en}; {why.en}", f"{trouble.said.es}; {why.es}")
            return Trouble(said, trouble_of(pod).look)
    return trouble


def _is_meant(scene: Scene, question: KubernetesObject, one: Object) -> bool:
    from trenza.cluster.kinds.selectors import label_selector

    metadata = one["metadata"]
    return (
        metadata.get("namespace", question.namespace) == question.namespace
        and question.name in ("", metadata["name"])
        and label_selector(question.labels).holds(metadata.get("labels"))
        and (question.node is None or one["spec"].get("nodeName") == scene.node(question.node))
        and not (question.kind == "pods" and "deletionTimestamp" in metadata)
    )


def _wrong(question: KubernetesObject, one: Object, slices: Sequence[Object]) -> Trouble | None:
    """The first thing that does not hold of an object; None if all does."""
    name, look = one["metadata"]["name"], _hint(question)
    if question.condition:
        kind, _, status = question.condition.partition("=")
        conditions = {each["type"]: each for each in one.get("status", {}).get("conditions", ())}
        found = conditions.get(kind, {"status": "-"})
        if found["status"].lower() != (status or "True").lower():
            why = same(found.get("message", ""))
            if question.kind == "pods" and not is_ready(one):
                why, look, _ = trouble_of(one)
            has = f"{name}: {kind}={found['status']}"
            return Trouble(Said(f"{has} ({why.en})", f"{has} ({why.es})") if why else same(has), look)
    for path, wanted in question.has.items():
        value = _at(one, path)
        if value != wanted:
            said = Said(
                f"{name}: {path} is {value or '-'}, not {wanted}", f"{name}: {path} es {value or '-'}, no {wanted}"
            )
            return Trouble(said, look)
    if question.endpoints is not None:
        addresses = served_by(one, slices)
        if len(addresses) != question.endpoints:
            count, shown = len(addresses), " ".join(sorted(addresses)) or "-"
            said = Said(
                f"{name} is served by {count}, not {question.endpoints}: {shown}",
                f"a {name} lo sirven {count}, no {question.endpoints}: {shown}",
            )
            return Trouble(said, look)
    return None


def _at(value: Any, path: str) -> str:
    """What is at a dotted path, as YAML would write it; empty where nothing is."""
    for word in path.split("."):
        if isinstance(value, list) and word.isdecimal() and int(word) < len(value):
            value = value[int(word)]
        elif isinstance(value, dict) and word in value:
            value = value[word]
        else:
            return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _counted(question: KubernetesObject, right: Sequence[str], asked_for: int) -> Said:
    whose, names = _whose(question), " ".join(right[:_SHOWN])
    return Said(f"{whose}: {len(right)}, not {asked_for}: {names}", f"{whose}: {len(right)}, no {asked_for}: {names}")


def _none(question: KubernetesObject) -> Said:
    whose = _whose(question)
    return Said(f"there is no {whose}", f"no hay {whose}")


def _whose(question: KubernetesObject) -> str:
    singular = KINDS[question.kind][0] if question.kind != "endpoints" else question.kind
    return " ".join(word for word in (singular, question.name, question.labels) if word)


def _hint(question: KubernetesObject) -> Said:
    words = ["kubectl get", question.kind, question.name]
    words += [f"-l {question.labels}"] if question.labels else []
    words += [f"-n {question.namespace}"] if question.namespace != "default" else []
    words += ["-o wide"] if question.kind in ("pods", "nodes", "services") else []
    return same(" ".join(word for word in words if word))
