"""Objects of the lab's cluster: what its API server tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trenza.check.verdict import NOTHING, Finding, Said, failed, passed, same
from trenza.keeper.cluster_objects import ClusterObjects
from trenza.keeper.pods import Object, served_by, why_not_ready
from trenza.keeper.scene import Scene
from trenza.model.checks import KubernetesObject
from trenza.model.cluster import KINDS

_SHOWN = 10


async def objects(there: ClusterObjects, scene: Scene, question: KubernetesObject) -> Finding:
    """Raises ApiError where the server does not answer."""
    asked = [one for one in await there.list(question.kind) if _is_meant(scene, question, one)]
    slices = await there.list("endpointslices") if question.endpoints is not None else ()
    wrong = {str(one["metadata"]["name"]): _wrong(question, one, slices) for one in asked}
    right = [name for name, why in wrong.items() if why is NOTHING]
    evidence: dict[str, Any] = {"objects": list(wrong)[:_SHOWN], "right": right[:_SHOWN]}
    shown = Said(f"{len(right)} of {len(wrong)}", f"{len(right)} de {len(wrong)}")
    because = next((why for why in wrong.values() if why is not NOTHING), NOTHING)
    asked_for = question.count if question.count is not None else question.at_least
    if asked_for is not None:
        too_many = question.count is not None and len(right) > asked_for
        if len(right) >= asked_for and not too_many:
            return passed(shown, **evidence)
        said = Said(f"{len(right)}, not {asked_for}", f"{len(right)}, no {asked_for}")
        counted = _counted(question, right, asked_for) if right else _none(question)
        why = counted if too_many else because or counted
        credit = 0.0 if too_many else len(right) / asked_for
        return failed(said, credit=credit, because=why, hint=_hint(question), **evidence)
    if not asked:
        because = _none(question)
        return failed(because, because=because, hint=_hint(question), **evidence)
    if because is NOTHING:
        return passed(shown if len(asked) > 1 else same(right[0]), **evidence)
    return failed(shown, credit=len(right) / len(asked), because=because, hint=_hint(question), **evidence)


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


def _wrong(question: KubernetesObject, one: Object, slices: Sequence[Object]) -> Said:
    """The first thing that does not hold of an object; NOTHING if all does."""
    name = one["metadata"]["name"]
    if question.condition:
        kind, _, status = question.condition.partition("=")
        conditions = {each["type"]: each for each in one.get("status", {}).get("conditions", ())}
        found = conditions.get(kind, {"status": "-"})
        if found["status"].lower() != (status or "True").lower():
            why = why_not_ready(one) if question.kind == "pods" else found.get("message", "")
            return same(f"{name}: {kind}={found['status']}" + (f" ({why})" if why else ""))
    for path, wanted in question.has.items():
        value = _at(one, path)
        if value != wanted:
            return Said(
                f"{name}: {path} is {value or '-'}, not {wanted}", f"{name}: {path} es {value or '-'}, no {wanted}"
            )
    if question.endpoints is not None:
        addresses = served_by(one, slices)
        if len(addresses) != question.endpoints:
            count, shown = len(addresses), " ".join(sorted(addresses)) or "-"
            return Said(
                f"{name} is served by {count}, not {question.endpoints}: {shown}",
                f"a {name} lo sirven {count}, no {question.endpoints}: {shown}",
            )
    return NOTHING


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
