"""Why a pod is not Ready, and the command that tells more; statuses as the kubelet writes them."""

from __future__ import annotations

from typing import Any

import pytest

from trenza.keeper.unready import trouble_of

ENDED = {"exitCode": 3, "reason": "Error"}
NOT_STARTED = {"exitCode": 128, "reason": "StartError", "message": 'exec: "nginx": executable file not found in $PATH'}
BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 4s restarting failed container=page"}}
NO_IMAGE = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "nginx": ErrImagePull: no registry'}
UNREADY = {"type": "Ready", "status": "False", "message": "containers with unready status: [page]"}
NOWHERE = {"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available: 2 node(s) didn't match"}


def pod(status: dict[str, Any], *, containers: int = 1, namespace: str = "default") -> dict[str, Any]:
    return {
        "metadata": {"name": "a", "namespace": namespace},
        "spec": {"nodeName": "n1", "containers": [{"name": f"c{number}"} for number in range(containers)]},
        "status": {"conditions": [UNREADY], **status},
    }


def of(state: dict[str, Any], last: dict[str, Any] | None = None, restarts: int = 0, **more: Any) -> dict[str, Any]:
    ended = {} if last is None else {"terminated": last}
    return {"name": "page", "ready": False, "restartCount": restarts, "state": state, "lastState": ended, **more}


@pytest.mark.parametrize(
    ("container", "why", "look"),
    [
        (of(BACK_OFF, ENDED, 3), "CrashLoopBackOff: page ended with exit code 3 (Error)", "kubectl logs a --previous"),
        (of(BACK_OFF, ENDED), "CrashLoopBackOff: page ended with exit code 3 (Error)", "kubectl logs a"),
        (of({"running": {}}, ENDED, 1), "page ended with exit code 3 (Error)", "kubectl logs a --previous"),
        (of({"terminated": {**ENDED, "message": "no port"}}), "page ended with exit code 3 (Error): no port",
         "kubectl logs a"),
        (of(BACK_OFF, NOT_STARTED, 2), f"CrashLoopBackOff: page: StartError: {NOT_STARTED['message']}",
         "kubectl describe pod a"),
        (of({"waiting": NO_IMAGE}), f"ImagePullBackOff: {NO_IMAGE['message']}", "kubectl describe pod a"),
        (of({"waiting": {"reason": "ContainerCreating"}}), UNREADY["message"], "kubectl describe pod a"),
        (of({"running": {}}), UNREADY["message"], "kubectl describe pod a"),
    ],
)  # fmt: skip
def test_why_and_what_tells_more(container: dict[str, Any], why: str, look: str) -> None:
    trouble = trouble_of(pod({"containerStatuses": [container]}))
    assert (trouble.said.en, trouble.look.en) == (why, look)


def test_init_containers_come_first_and_are_named_where_there_are_several() -> None:
    done = of({"terminated": {"exitCode": 0, "reason": "Completed"}}, ready=True)
    first = {**of(BACK_OFF, ENDED, 1), "name": "first"}
    waiting = of({"waiting": {"reason": "PodInitializing"}})
    status = {"initContainerStatuses": [done, first], "containerStatuses": [waiting]}
    trouble = trouble_of(pod(status, containers=2, namespace="other"))
    assert trouble.said.es == "CrashLoopBackOff: first acabó con el código 3 (Error)"
    assert trouble.look.en == "kubectl logs a -c first --previous -n other"


def test_who_runs_nothing_yet_is_described_and_of_a_lost_node_the_node_is_looked_at() -> None:
    assert trouble_of(pod({"conditions": [NOWHERE]})).said.en == NOWHERE["message"]
    lost = trouble_of(pod({"conditions": [], "phase": "Running"}))
    assert (lost.said.en, lost.look.en) == ("nothing is heard of its node n1", "kubectl get nodes")
    assert trouble_of(pod({"conditions": [], "phase": "Pending"})).look.en == "kubectl describe pod a"
