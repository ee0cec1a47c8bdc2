"""A pod's volumes in values: the files that each holds, and where a container shows it.

Their place in the host is a real kubelet's: /var/lib/kubelet/pods/UID/volumes/kubernetes.io~KIND/NAME.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from trenza.cluster.node.dns import DOMAIN
from trenza.cluster.node.environment import ConfigError, Surroundings, field_value, resource_value, texts_of

Object = Mapping[str, Any]
PODS: Final = "/var/lib/kubelet/pods"


@dataclass(frozen=True, slots=True)
class Volume:
    """A directory of the host. `files` by path below it, None where what is in it is the containers' own."""

    name: str
    path: str
    files: Mapping[str, tuple[bytes, int]] | None = None
    """Bytes and mode."""
    in_memory: bool = False
    make: bool = True
    """Whether the directory is made where it is missing."""


@dataclass(frozen=True, slots=True)
class Mount:
    """What a container shows at `target`: `source` of the host."""

    source: str
    target: str
    read_only: bool = False


def pod_directory(pod: Object) -> str:
    return f"{PODS}/{pod['metadata']['uid']}"


def volumes(pod: Object, around: Surroundings) -> tuple[Volume, ...]:
    """All volumes of a pod. Raises ConfigError, naming what is missing or not known here."""
    return tuple(_volume(pod, one, around) for one in pod["spec"].get("volumes", ()))


def _volume(pod: Object, volume: Object, around: Surroundings) -> Volume:
    name = volume["name"]

    def at(kind: str) -> str:
        return f"{pod_directory(pod)}/volumes/kubernetes.io~{kind}/{name}"

    if "emptyDir" in volume:
        return Volume(name, at("empty-dir"), in_memory=(volume["emptyDir"] or {}).get("medium") == "Memory")
    if "hostPath" in volume:
        kind = volume["hostPath"].get("type", "")
        return Volume(name, volume["hostPath"]["path"], make=kind == "DirectoryOrCreate")
    for kind, place in (("configMap", "configmap"), ("secret", "secret"), ("downwardAPI", "downward-api")):
        if kind in volume:
            source = volume[kind]
            return Volume(name, at(place), dict(_files(pod, kind, source, source.get("defaultMode", 0o644), around)))
    if "projected" in volume:
        mode = volume["projected"].get("defaultMode", 0o644)
        files: dict[str, tuple[bytes, int]] = {}
        for source in volume["projected"].get("sources", ()):
            for kind, content in source.items():
                files.update(_files(pod, kind, content, mode, around))
        return Volume(name, at("projected"), files)
    kinds = ", ".join(sorted(key for key in volume if key != "name")) or "none"
    raise ConfigError(f'volume "{name}" is of a kind that labs do not have: {kinds}')


def _files(
    pod: Object, kind: str, source: Object, mode: int, around: Surroundings
) -> Iterator[tuple[str, tuple[bytes, int]]]:
    if kind == "downwardAPI":
        for item in source.get("items", ()):
            if "fieldRef" in item:
                text = field_value(pod, item["fieldRef"]["fieldPath"], around)
            else:
                text = _resource_text(pod, item["resourceFieldRef"], around)
            yield item["path"], (text.encode(), item.get("mode", mode))
        return
    if kind == "serviceAccountToken":
        token = around.tokens.get(source.get("audience", ""), "")
        yield source["path"], (token.encode(), mode)
        return
    name = source.get("secretName") or source.get("name", "")
    found = (around.config_maps if kind == "configMap" else around.secrets).get(name)
    if found is None:
        if source.get("optional"):
            return
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    content = _bytes_of(kind, found)
    if not source.get("items"):
        yield from ((key, (data, mode)) for key, data in content.items())
        return
    for item in source["items"]:
        if item["key"] not in content:
            if source.get("optional"):
                continue
            raise ConfigError(f"references non-existent {kind.lower()} key: {item['key']}")
        yield item["path"], (content[item["key"]], item.get("mode", mode))


def _resource_text(pod: Object, reference: Object, around: Surroundings) -> str:
    every = (*pod["spec"].get("containers", ()), *pod["spec"].get("initContainers", ()))
    container = next((one for one in every if one["name"] == reference.get("containerName")), None)
    if container is None:
        raise ConfigError(f"container {reference.get('containerName', '')} not found")
    return resource_value(container, reference, around)


def _bytes_of(kind: str, found: Object) -> Mapping[str, bytes]:
    if kind == "secret":
        return {key: base64.b64decode(text) for key, text in (found.get("data") or {}).items()}
    binary = {key: base64.b64decode(text) for key, text in (found.get("binaryData") or {}).items()}
    return {**{key: text.encode() for key, text in texts_of(found).items()}, **binary}


def mounts(pod: Object, container: Object, known: tuple[Volume, ...]) -> tuple[Mount, ...]:
    """What a container shows: its volumes, and the pod's own names and name server."""
    by_name = {volume.name: volume for volume in known}
    shown = [
        Mount(f"{pod_directory(pod)}/etc-hosts", "/etc/hosts"),
        Mount(f"{pod_directory(pod)}/resolv.conf", "/etc/resolv.conf"),
    ]
    for mount in container.get("volumeMounts", ()):
        volume = by_name.get(mount["name"])
        if volume is None:
            raise ConfigError(f'volume "{mount["name"]}" is not in the pod')
        part = (mount.get("subPath") or "").strip("/")
        if ".." in part.split("/"):
            raise ConfigError(f"subPath {part!r} must not contain '..'")
        source = f"{volume.path}/{part}" if part else volume.path
        read_only = bool(mount.get("readOnly")) or volume.files is not None
        shown.append(Mount(source, mount["mountPath"], read_only))
    targets = {mount.target for mount in shown[2:]}
    return tuple(one for one in shown[:2] if one.target not in targets) + tuple(
        sorted(shown[2:], key=lambda one: one.target)
    )


def hosts_file(pod: Object, address: str) -> str:
    """A pod's /etc/hosts."""
    spec, name = pod["spec"], pod["spec"].get("hostname") or pod["metadata"]["name"]
    full = ""
    if spec.get("subdomain"):
        full = f"{name}.{spec['subdomain']}.{pod['metadata']['namespace']}.svc.{DOMAIN}\t"
    lines = ["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    if address:
        lines.append(f"{address}\t{full}{name}")
    lines += [f"{alias['ip']}\t{chr(9).join(alias.get('hostnames', ()))}" for alias in spec.get("hostAliases", ())]
    return "\n".join(lines) + "\n"
