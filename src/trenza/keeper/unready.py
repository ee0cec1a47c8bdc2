"""Why a pod is not Ready, in Kubernetes' own words where it has any, and what of kubectl tells more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from trenza.check.verdict import Said, same

Object = Mapping[str, Any]
_STARTING = ("PodInitializing", "ContainerCreating")
_NEVER_BEGAN = ("StartError", "ContainerCannotRun")
"""Why a container ended that wrote nothing: its command was not executed."""


class Trouble(NamedTuple):
    """What is wrong, and the command that shows the rest. `stays`: until somebody does something."""

    said: Said
    look: Said
    stays: bool = False


def trouble_of(pod: Object) -> Trouble:
    """Of a pod that is not Ready: its first container that waits or ended, else a condition, else its phase."""
    spec, status = pod.get("spec", {}), pod.get("status", {})
    describe = _kubectl(pod, "describe pod", pod["metadata"]["name"])
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        if not container.get("ready") and (found := _of_container(pod, container, describe)) is not None:
            return found
    for condition in status.get("conditions", ()):
        if condition["status"] != "True" and condition.get("message"):
            return Trouble(same(str(condition["message"])), describe)
    phase, node = str(status.get("phase", "Pending")), spec.get("nodeName")
    if phase == "Running" and node:
        unheard = Said(f"nothing is heard of its node {node}", f"no se sabe nada de su nodo {node}")
        return Trouble(unheard, same("kubectl get nodes"))
    return Trouble(same(phase), describe)


def not_ready(pod: Object) -> Said:
    """That a pod is not Ready, and why."""
    name, why = pod["metadata"]["name"], trouble_of(pod).said
    return Said(f"{name} is not Ready: {why.en}", f"{name} no está Ready: {why.es}")


def _of_container(pod: Object, container: Object, describe: Said) -> Trouble | None:
    """What a container waits for; of one that is started again and again, how it ended the last time."""
    state, last = container.get("state", {}), container.get("lastState", {})
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or last.get("terminated")
    if waiting.get("reason") in _STARTING:
        return None
    if ended is None or (waiting and waiting.get("reason") != "CrashLoopBackOff"):
        words = ": ".join(part for part in (waiting.get("reason"), waiting.get("message")) if part)
        return Trouble(same(words), describe) if words else None
    name, reason, again = container["name"], ended.get("reason", "Error"), container.get("restartCount", 0)
    before = f"{waiting['reason']}: " if waiting else ""
    after = f": {ended['message']}" if ended.get("message") else ""
    if reason in _NEVER_BEGAN:
        return Trouble(same(f"{before}{name}: {reason}{after}"), describe)
    code = ended["exitCode"]
    said = Said(
        f"{before}{name} ended with exit code {code} ({reason}){after}",
        f"{before}{name} acabó con el código {code} ({reason}){after}",
    )
    whose = f" -c {name}" if len((*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])) > 1 else ""
    return Trouble(said, _kubectl(pod, "logs", f"{pod['metadata']['name']}{whose}", "--previous" if again else ""))


def _kubectl(pod: Object, *words: str) -> Said:
    namespace = pod["metadata"].get("namespace", "default")
    where = "" if namespace == "default" else f"-n {namespace}"
    return same(" ".join(word for word in ("kubectl", *words, where) if word))
