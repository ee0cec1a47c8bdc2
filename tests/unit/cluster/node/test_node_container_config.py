"""What a container is given: variables, arguments, volumes; and frames of streams."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trenza.cluster.node import payload
from trenza.cluster.node.environment import ConfigError, Image, Surroundings, command_of, expand, references
from trenza.cluster.node.frames import FrameReader, packed
from trenza.cluster.node.pods import Run, Seen
from trenza.cluster.node.probing import Health, Tally
from trenza.cluster.node.record import Record, Records
from trenza.cluster.node.volumes import hosts_file, mounts, volumes

POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "default", "uid": "u-1", "labels": {"app": "web"}},
    "spec": {"containers": []},
}


def service(namespace: str, name: str, address: str, *ports: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"clusterIP": address, "ports": list(ports)}}


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


AROUND = Surroundings(
    services=[
        service("default", "my-db", "10.254.0.7", {"port": 5432, "name": "sql"}),
        service("other", "far", "10.254.0.8", {"port": 1}),
        service("default", "kubernetes", "10.254.0.1", {"port": 443, "name": "https"}),
    ],
    config_maps={"c": {"data": {"page": "hello", "mode": "fast"}, "binaryData": {"raw": encoded(b"\0\1")}}},
    secrets={"s": {"data": {"word": encoded(b"open sesame")}}},
    host_ip="10.9.0.2",
    pod_ip="172.16.27.2",
    node_name="larrain",
    allocatable={"cpu": "8", "memory": "16Gi"},
    tokens={"": "a-token"},
)


def command(container: dict[str, Any], image: Image | None = None, pod: dict[str, Any] = POD) -> Any:
    return command_of(pod, {"name": "c", **container}, image or Image(), AROUND)


def test_variables_of_services_are_dockers() -> None:
    known = command({"command": ["x"]}).environment
    assert known["MY_DB_SERVICE_HOST"] == "10.254.0.7" and known["MY_DB_SERVICE_PORT_SQL"] == "5432"
    assert known["MY_DB_PORT"] == "tcp://10.254.0.7:5432" == known["MY_DB_PORT_5432_TCP"]
    assert known["MY_DB_PORT_5432_TCP_ADDR"] == "10.254.0.7" and "FAR_SERVICE_HOST" not in known
    quiet = {**POD, "spec": {"enableServiceLinks": False}}
    known = command({"command": ["x"]}, pod=quiet).environment
    assert "MY_DB_SERVICE_HOST" not in known and known["KUBERNETES_SERVICE_HOST"] == "10.254.0.1"


def test_variables_come_from_everywhere() -> None:
    known = command(
        {
            "command": ["run", "--mode=$(MODE)", "$(NOBODY)", "$$(MODE)"],
            "envFrom": [
                {"configMapRef": {"name": "c"}, "prefix": "C_"},
                {"secretRef": {"name": "no", "optional": True}},
            ],
            "env": [
                {"name": "MODE", "value": "$(C_mode)er"},
                {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "word"}}},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            ],
            "resources": {"limits": {"cpu": "2"}},
        }
    )
    assert known.argv == ("run", "--mode=faster", "$(NOBODY)", "$(MODE)")
    found = known.environment
    assert [found[name] for name in ("C_page", "WORD", "NODE", "APP", "CPU")] == [
        "hello",
        "open sesame",
        "larrain",
        "web",
        "2",
    ]


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({}, "no command specified"),
        ({"command": ["x"], "envFrom": [{"configMapRef": {"name": "no"}}]}, 'configmap "no" not found'),
        (
            {"command": ["x"], "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            "couldn't find key k in Secret default/s",
        ),
        (
            {"command": ["x"], "securityContext": {"runAsNonRoot": True}},
            "container has runAsNonRoot and image will run as root",
        ),
    ],
)
def test_what_is_missing_is_named(container: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        command(container)
    assert error.value.message == message


def test_an_image_may_bring_its_command() -> None:
    image = Image(("apachectl",), ("-D", "FOREGROUND"))
    assert command({}, image).argv == ("apachectl", "-D", "FOREGROUND")
    assert command({"args": ["-v"]}, image).argv == ("apachectl", "-v")
    assert command({"command": ["sh"]}, image).argv == ("sh",)


@given(st.text())
def test_expanding_with_nothing_known_changes_only_dollars(text: str) -> None:
    if "$$" not in text:
        assert expand(text, {}) == text


def test_volumes_have_their_files_and_mounts_their_places() -> None:
    token = {"serviceAccountToken": {"path": "token"}}
    labels = {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}
    spec = {
        "volumes": [
            {"name": "c", "configMap": {"name": "c", "items": [{"key": "page", "path": "a/b", "mode": 0o600}]}},
            {"name": "e", "emptyDir": {}},
            {"name": "t", "projected": {"sources": [token, {"downwardAPI": labels}]}},
            {"name": "h", "hostPath": {"path": "/srv"}},
        ]
    }  # fmt: skip
    pod = {**POD, "spec": spec}
    made = volumes(pod, AROUND)
    assert made[0].files == {"a/b": (b"hello", 0o600)}
    assert made[1].path == "/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~empty-dir/e" and made[1].files is None
    assert made[2].files == {"token": (b"a-token", 0o644), "labels": (b'app="web"', 0o644)}
    container = {"volumeMounts": [{"name": "c", "mountPath": "/c", "subPath": "a/b"}, {"name": "h", "mountPath": "/h"}]}
    shown = {mount.target: (mount.source, mount.read_only) for mount in mounts(pod, container, made)}
    assert shown["/c"] == (f"{made[0].path}/a/b", True) and shown["/h"] == ("/srv", False) and "/etc/hosts" in shown
    assert references(pod) == (frozenset({"c"}), frozenset())


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ({"resource": "limits.cpu"}, "2"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "limits.memory"}, "67108864"),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "64"),
        ({"resource": "limits.memory", "divisor": "0"}, "67108864"),
        ({"resource": "requests.cpu"}, "0"),
    ],
)
def test_a_resource_is_told_in_whole_divisors(reference: dict[str, str], text: str) -> None:
    container = {"name": "c", "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}}}
    env = [{"name": "A", "valueFrom": {"resourceFieldRef": reference}}]
    assert command({**container, "command": ["x"], "env": env}).environment["A"] == text
    items = [{"path": "a", "resourceFieldRef": {"containerName": "c", **reference}}]
    pod = {**POD, "spec": {"containers": [container], "volumes": [{"name": "d", "downwardAPI": {"items": items}}]}}
    assert volumes(pod, AROUND)[0].files == {"a": (text.encode(), 0o644)}


def test_without_a_limit_the_nodes_own_is_told() -> None:
    env = [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]
    assert command({"command": ["x"], "env": env}).environment["A"] == "8"
    with pytest.raises(ConfigError, match=r"unsupported container resource: limits\.joy"):
        command({"command": ["x"], "env": [{**env[0], "valueFrom": {"resourceFieldRef": {"resource": "limits.joy"}}}]})


def test_a_payload_is_changed_in_one_step(tmp_path: Path) -> None:
    volume = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        payload.show(volume, {"a": (b"1", 0o640), "in/b": (b"2", 0o644), "in/deep/c": (b"3", 0o644)})
        assert {one.name for one in tmp_path.iterdir() if not one.name.startswith("..")} == {"a", "in"}
        assert (tmp_path / "a").read_bytes() == b"1" and (tmp_path / "a").stat().st_mode & 0o777 == 0o640
        assert (tmp_path / "in/deep/c").read_bytes() == b"3"
        held = os.open(tmp_path / "..data", os.O_RDONLY)
        before = os.readlink(tmp_path / "..data")
        payload.show(volume, {"a": (b"4", 0o644), "d": (b"5", 0o644)})
        assert {one.name for one in tmp_path.iterdir()} == {"a", "d", "..data", os.readlink(tmp_path / "..data")}
        assert (os.readlink(tmp_path / "a"), (tmp_path / "a").read_bytes()) == ("..data/a", b"4")
        assert os.readlink(tmp_path / "..data") != before
        assert os.listdir(held) == []  # the old directory is gone, and was not written to
        os.close(held)
        payload.show(volume, {})
        assert {one.name for one in tmp_path.iterdir()} == {"..data", os.readlink(tmp_path / "..data")}
    finally:
        os.close(volume)


def test_a_volume_that_labs_do_not_have_is_named() -> None:
    pod = {**POD, "spec": {"volumes": [{"name": "v", "nfs": {"server": "x"}}]}}
    with pytest.raises(ConfigError, match='volume "v" is of a kind that labs do not have: nfs'):
        volumes(pod, AROUND)
    bad = {"volumeMounts": [{"name": "e", "mountPath": "/e", "subPath": "../x"}]}
    pod = {**POD, "spec": {"volumes": [{"name": "e", "emptyDir": {}}]}}
    with pytest.raises(ConfigError, match="subPath"):
        mounts(pod, bad, volumes(pod, AROUND))


def test_a_pods_hosts_file() -> None:
    assert hosts_file(POD, "172.16.27.2").splitlines()[-1] == "172.16.27.2\tp"


@given(st.lists(st.tuples(st.integers(0, 4), st.binary(max_size=50)), max_size=6), st.integers(1, 20))
def test_frames_survive_any_cutting(sent: list[tuple[int, bytes]], size: int) -> None:
    async def read() -> list[tuple[int, bytes]]:
        reader = asyncio.StreamReader()
        data = b"".join(packed(channel, payload) for channel, payload in sent)
        first, rest = data[:size], data[size:]
        for start in range(0, len(rest), size):
            reader.feed_data(rest[start : start + size])
        reader.feed_eof()
        return [(frame.channel, frame.payload) async for frame in FrameReader(reader, first)]

    assert asyncio.run(read()) == sent


def test_half_a_frame_and_a_huge_one_are_errors() -> None:
    async def read(data: bytes) -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        async for _ in FrameReader(reader):
            pass

    with pytest.raises(EOFError):
        asyncio.run(read(b"\1\0\0\0\5abc"))
    with pytest.raises(ValueError):
        asyncio.run(read(b"\1\xff\xff\xff\xffabc"))


def test_a_record_reads_back_as_it_was_written(tmp_path: Any) -> None:
    run = Run(
        3, 10.0, 2, stopping_since_s=11.0, health=Health({"liveness": Tally(True, 4, True, 9.5, "ok")}), identity="x"
    )
    seen = Seen(9.0, "172.16.27.2", "", {"c0": run}, {"c0": Run(2, 1.0, 1, 5.0, 3)}, accepted_s=8.0)
    records = Records(tmp_path / "pods")
    records.save(Record(POD, seen, frozenset({"a"})))
    (tmp_path / "pods" / "broken.json").write_text("{")
    assert list(records.load()) == [Record(POD, seen, frozenset({"a"}))]
    records.forget("u-1")
    assert not list(records.load())


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ({"resource": "limits.cpu"}, "2"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "limits.cpu", "divisor": "0"}, "2"),
        ({"resource": "requests.memory"}, "67108864"),
        ({"resource": "requests.memory", "divisor": "1Mi"}, "64"),
        ({"resource": "requests.memory", "divisor": "1Gi"}, "1"),
    ],
)
def test_resources_are_whole_numbers_of_their_divisor(field: dict[str, str], expected: str) -> None:
    resources = {"limits": {"cpu": "1500m"}, "requests": {"memory": "64Mi"}}
    env = [{"name": "R", "valueFrom": {"resourceFieldRef": field}}]
    assert command({"command": ["x"], "env": env, "resources": resources}).environment["R"] == expected
