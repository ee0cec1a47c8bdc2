"""Service accounts: what pods are given of them, and for how long a token holds."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from raw_requests import Client

from trenza.cluster.kinds.defaults import TOKEN_MOUNT
from trenza.cluster.server.first_objects import Networks
from trenza.cluster.server.node_agents import NodeAgents
from trenza.cluster.server.server import Server, ServerSettings, running

pytestmark = pytest.mark.anyio

HOME = "/api/v1/namespaces/default"
LATER_S = 601.0


class Clock:
    """The time, or later."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(tmp_path: Path, networks: Networks, clock: Clock) -> AsyncIterator[Server]:
    settings = ServerSettings(tmp_path / "server", networks)
    async with running(settings, lambda registry, _: NodeAgents(registry, None), now_s=clock) as server:
        yield server


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "host"}], **spec}}


def secret(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": {}}


async def token_of(ask: Client, account: str, **spec: Any) -> str:
    made = await ask("POST", f"{HOME}/serviceaccounts/{account}/token", {"spec": spec})
    assert made.status == 201, made
    return str(made.json["status"]["token"])


async def test_a_pod_shows_its_accounts_token_unless_told_otherwise(ask: Client) -> None:
    for name, automount in (("talks", True), ("silent", False)):
        account = {"metadata": {"name": name}, "automountServiceAccountToken": automount}
        assert (await ask("POST", f"{HOME}/serviceaccounts", account)).status == 201

    async def mounts(name: str, **spec: Any) -> list[str]:
        made = (await ask("POST", f"{HOME}/pods", pod(name, **spec))).json["spec"]
        assert len(made.get("volumes", ())) == len(made["containers"][0].get("volumeMounts", ()))
        return [one["mountPath"] for one in made["containers"][0].get("volumeMounts", ())]

    assert await mounts("a") == [TOKEN_MOUNT]
    assert await mounts("b", serviceAccountName="talks") == [TOKEN_MOUNT]
    assert await mounts("c", serviceAccountName="silent") == []
    assert await mounts("d", serviceAccountName="silent", automountServiceAccountToken=True) == [TOKEN_MOUNT]
    assert await mounts("e", automountServiceAccountToken=False) == []


async def test_a_token_ends_with_its_time_its_account_and_what_it_is_bound_to(
    ask: Client, tls: ssl.SSLContext, clock: Clock
) -> None:
    async def who(token: str) -> str:
        answered = await Client(ask.port, tls, token)(
            "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {"spec": {}}
        )
        return str(answered.json["status"]["userInfo"]["username"]) if answered.status == 201 else str(answered.status)

    async def review(token: str, *audiences: str) -> bool:
        question = {"spec": {"token": token, "audiences": list(audiences)}}
        answered = await ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", question)
        return answered.json["status"].get("authenticated") is True

    for name in ("robot", "other"):
        await ask("POST", f"{HOME}/serviceaccounts", {"metadata": {"name": name}})
    await ask("POST", f"{HOME}/secrets", secret("s"))
    made = (await ask("POST", f"{HOME}/pods", pod("p"))).json["metadata"]

    robot, other = await token_of(ask, "robot"), await token_of(ask, "other", expirationSeconds=600)
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": made["uid"]}
    of_pod = await token_of(ask, "other", boundObjectRef=bound)
    of_secret = await token_of(ask, "other", boundObjectRef={"apiVersion": "v1", "kind": "Secret", "name": "s"})
    every = (robot, other, of_pod, of_secret)
    assert [await who(one) for one in every] == [
        f"system:serviceaccount:default:{name}" for name in ("robot", "other", "other", "other")
    ]
    for reference, status in (
        ({**bound, "uid": "another"}, 409),
        ({**bound, "name": "absent"}, 404),
        ({**bound, "kind": "Service"}, 400),
    ):
        body = {"spec": {"boundObjectRef": reference}}
        assert (await ask("POST", f"{HOME}/serviceaccounts/other/token", body)).status == status

    elsewhere = await token_of(ask, "other", audiences=["vault"])
    assert (await who(elsewhere), await review(elsewhere, "vault"), await review(elsewhere)) == ("401", True, True)
    assert not await review(elsewhere, "https://kubernetes.default.svc.cluster.local")

    await ask("DELETE", f"{HOME}/serviceaccounts/robot")
    await ask("DELETE", f"{HOME}/pods/p", {"gracePeriodSeconds": 0})
    await ask("DELETE", f"{HOME}/secrets/s")
    assert [await who(one) for one in (robot, of_pod, of_secret)] == ["401"] * 3
    assert [await review(one) for one in every] == [False, True, False, False]
    await ask("POST", f"{HOME}/serviceaccounts", {"metadata": {"name": "robot"}})
    assert await who(robot) == "401"  # another account of that name
    clock.ahead_s = LATER_S
    assert await who(other) == "401"
