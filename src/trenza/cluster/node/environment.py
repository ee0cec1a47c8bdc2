"""What a container is given to run: its environment, command line, working directory and user, from a pod's spec.

Order and expansion are the kubelet's: variables of services, then `envFrom`, then `env`; `$(NAME)` refers to what came
before, `$$` is a dollar. Source: Kubernetes' pkg/kubelet/kubelet_pods.go and third_party/forked/golang/expansion.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import ceil
from typing import Any, Final

from trenza.cluster.kinds.quantities import amount_of
from trenza.errors import TrenzaError

Object = Mapping[str, Any]
_REFERENCE: Final = re.compile(r"\$(\$|\(([^)]*)\))")
_NAME: Final = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


class ConfigError(TrenzaError):
    """A container cannot be made from what its pod says; the message is the one that `describe` shows."""

    code = "container-config"


@dataclass(frozen=True, slots=True)
class Image:
    """What an image is in a lab: the host's own file system, and a command to run in it where it has one."""

    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


HOST_IMAGE: Final = "host"
Images = Mapping[str, Image]


def find_image(name: str, images: Images) -> Image | None:
    """The image of that name; a tag `latest`, or none, is the same."""
    plain = name.removesuffix(":latest")
    return images.get(plain) or (Image() if plain == HOST_IMAGE else None)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What of the cluster a container may refer to: objects by name, of its own namespace."""

    services: Sequence[Object] = ()
    config_maps: Mapping[str, Object] = field(default_factory=dict)
    secrets: Mapping[str, Object] = field(default_factory=dict)
    host_ip: str = ""
    pod_ip: str = ""
    node_name: str = ""
    allocatable: Mapping[str, str] = field(default_factory=dict)
    """What the node has to give, by resource."""
    tokens: Mapping[str, str] = field(default_factory=dict)
    """Tokens of the pod's service account by audience."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is executed in a container."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: str | None
    user: str | None


def references(pod: Object) -> tuple[frozenset[str], frozenset[str]]:
    """The names of the config maps and of the secrets that a pod refers to."""
    config_maps: set[str] = set()
    secrets: set[str] = set()
    spec = pod["spec"]
    kinds = ("initContainers", "containers", "ephemeralContainers")
    for container in chain.from_iterable(spec.get(kind) or () for kind in kinds):
        for source in container.get("envFrom", ()):
            config_maps |= {source[key]["name"] for key in ("configMapRef",) if key in source}
            secrets |= {source[key]["name"] for key in ("secretRef",) if key in source}
        for variable in container.get("env", ()):
            given = variable.get("valueFrom") or {}
            config_maps |= {given[key]["name"] for key in ("configMapKeyRef",) if key in given}
            secrets |= {given[key]["name"] for key in ("secretKeyRef",) if key in given}
    for volume in spec.get("volumes", ()):
        for source in (volume, *(volume.get("projected") or {}).get("sources", ())):
            config_maps |= {source["configMap"]["name"]} if "configMap" in source else set()
            if "secret" in source:
                secrets.add(source["secret"].get("secretName") or source["secret"].get("name"))
    return frozenset(config_maps), frozenset(secrets)


def command_of(pod: Object, container: Object, image: Image, around: Surroundings) -> Command:
    """What to execute for a container of a pod. Raises ConfigError, naming what is missing."""
    environment = {**image.environment, **_environment(pod, container, around)}
    if container.get("command"):
        argv = [*container["command"], *container.get("args", ())]
    else:
        argv = [*image.command, *(container.get("args") or image.arguments)]
    if not argv:
        raise ConfigError("no command specified")
    security = {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
    user = security.get("runAsUser")
    if security.get("runAsNonRoot") and not user:
        raise ConfigError("container has runAsNonRoot and image will run as root")
    return Command(
        tuple(expand(word, environment) for word in argv),
        {"HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"], **environment},
        container.get("workingDir") or None,
        None if user is None else str(user),
    )


def expand(text: str, known: Mapping[str, str]) -> str:
    """`$(NAME)` replaced where the name is known, and left as it is where not; `$$` is a dollar."""

    def value(found: re.Match[str]) -> str:
        if found[1] == "$":
            return "$"
        return known.get(found[2], found[0])

    return _REFERENCE.sub(value, text)


def _environment(pod: Object, container: Object, around: Surroundings) -> dict[str, str]:
    namespace = pod["metadata"]["namespace"]
    known = service_variables(around.services, namespace, all_services=pod["spec"].get("enableServiceLinks", True))
    for source in container.get("envFrom", ()):
        prefix = source.get("prefix", "")
        for key, value in _all_of(source, around).items():
            if _NAME.fullmatch(prefix + key):
                known[prefix + key] = value
    for variable in container.get("env", ()):
        given = variable.get("valueFrom")
        if given is None:
            known[variable["name"]] = expand(variable.get("value", ""), known)
            continue
        found = _value_from(pod, container, given, around)
        if found is not None:
            known[variable["name"]] = found
    return known


def _all_of(source: Object, around: Surroundings) -> Mapping[str, str]:
    for key, objects, read, kind in (
        ("configMapRef", around.config_maps, texts_of, "configmap"),
        ("secretRef", around.secrets, secret_texts, "secret"),
    ):
        if key in source:
            found = objects.get(source[key]["name"])
            if found is not None:
                return read(found)
            if not source[key].get("optional"):
                raise ConfigError(f'{kind} "{source[key]["name"]}" not found')
    return {}


def texts_of(config_map: Object) -> Mapping[str, str]:
    return config_map.get("data") or {}


def secret_texts(secret: Object) -> Mapping[str, str]:
    return {key: base64.b64decode(text).decode(errors="replace") for key, text in (secret.get("data") or {}).items()}


def _value_from(pod: Object, container: Object, given: Object, around: Surroundings) -> str | None:
    if "fieldRef" in given:
        return field_value(pod, given["fieldRef"]["fieldPath"], around)
    if "resourceFieldRef" in given:
        return resource_value(container, given["resourceFieldRef"], around)
    for key, objects, read, kind in (
        ("configMapKeyRef", around.config_maps, texts_of, "ConfigMap"),
        ("secretKeyRef", around.secrets, secret_texts, "Secret"),
    ):
        if key not in given:
            continue
        reference = given[key]
        found = objects.get(reference["name"])
        if found is not None and reference["key"] in read(found):
            return read(found)[reference["key"]]
        if reference.get("optional"):
            return None
        if found is None:
            raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
        place = f"{pod['metadata']['namespace']}/{reference['name']}"
        raise ConfigError(f"couldn't find key {reference['key']} in {kind} {place}")
    return None


def field_value(pod: Object, path: str, around: Surroundings) -> str:
    """What the downward API gives for a field of a pod. Raises ConfigError for one it does not know."""
    metadata, spec = pod["metadata"], pod["spec"]
    simple: dict[str, Callable[[], Any]] = {
        "metadata.name": lambda: metadata["name"],
        "metadata.namespace": lambda: metadata["namespace"],
        "metadata.uid": lambda: metadata["uid"],
        "spec.nodeName": lambda: around.node_name,
        "spec.serviceAccountName": lambda: spec.get("serviceAccountName", ""),
        "status.hostIP": lambda: around.host_ip,
        "status.hostIPs": lambda: around.host_ip,
        "status.podIP": lambda: around.pod_ip,
        "status.podIPs": lambda: around.pod_ip,
    }
    if path in simple:
        return str(simple[path]())
    found = re.fullmatch(r"metadata\.(labels|annotations)(?:\['([^']+)'\])?", path)
    if found is None:
        raise ConfigError(f"unsupported fieldPath: {path}")
    values = metadata.get(found[1]) or {}
    if found[2]:
        return str(values.get(found[2], ""))
    return "\n".join(f'{key}="{value}"' for key, value in sorted(values.items()))


def resource_value(container: Object, reference: Object, around: Surroundings) -> str:
    """What the downward API gives for a container's request or limit, in whole divisors, rounded up.

    Where nothing is asked for, a limit is what the node has. Raises ConfigError for one that it does not know.
    """
    path = reference["resource"]
    kind, _, name = path.partition(".")
    if kind not in ("limits", "requests") or name not in around.allocatable:
        raise ConfigError(f"unsupported container resource: {path}")
    resources = container.get("resources") or {}
    asked = (resources.get(kind) or {}).get(name)
    if asked is None and kind == "limits":
        asked = around.allocatable[name]
    divisor = str(reference.get("divisor") or "1")
    return str(ceil(amount_of(str(asked or "0")) / (amount_of("1" if divisor == "0" else divisor))))


def service_variables(services: Iterable[Object], namespace: str, *, all_services: bool = True) -> dict[str, str]:
    """The variables by which a container finds services, as docker's links made them: always those of `kubernetes`."""
    known: dict[str, str] = {}
    for service in services:
        metadata, spec = service["metadata"], service.get("spec", {})
        is_master = (metadata["namespace"], metadata["name"]) == ("default", "kubernetes")
        if not (is_master or (all_services and metadata["namespace"] == namespace)):
            continue
        if spec.get("clusterIP") in (None, "", "None") or not spec.get("ports"):
            continue
        name = metadata["name"].upper().replace("-", "_")
        address, ports = spec["clusterIP"], spec["ports"]
        known[f"{name}_SERVICE_HOST"] = address
        known[f"{name}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if port.get("name"):
                known[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
        for number, port in enumerate(ports):
            protocol = port.get("protocol", "TCP").lower()
            url = f"{protocol}://{address}:{port['port']}"
            prefix = f"{name}_PORT_{port['port']}_{protocol.upper()}"
            if number == 0:
                known[f"{name}_PORT"] = url
            known |= {
                prefix: url, f"{prefix}_PROTO": protocol, f"{prefix}_ADDR": address,
                f"{prefix}_PORT": str(port["port"]),
            }  # fmt: skip
    return known
