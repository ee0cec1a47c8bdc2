"""Pod specs: containers, ports, environment, probes, resources, volumes, tolerations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from trenza.cluster.kinds.quantities import amount_of
from trenza.cluster.kinds.resources import Object
from trenza.cluster.kinds.rules import (
    config_key_problems,
    env_name_problems,
    ip_problems,
    label_1123_problems,
    label_key_problems,
    port_name_problems,
    port_problems,
    subdomain_1123_problems,
)
from trenza.cluster.kinds.status import Causes
from trenza.cluster.kinds.validation.metadata import check_labels
from trenza.cluster.kinds.validation.placement import check_placement

NOT_NEGATIVE = "must be greater than or equal to 0"
PROTOCOLS = ("SCTP", "TCP", "UDP")
_STANDARD_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_FIELD_PATHS = (
    "metadata.name metadata.namespace metadata.labels metadata.annotations metadata.uid spec.nodeName "
    "spec.serviceAccountName status.hostIP status.hostIPs status.podIP status.podIPs"
)
_EPHEMERAL_FIELDS = frozenset(
    ("name", "image", "command", "args", "workingDir", "env", "envFrom", "volumeMounts", "volumeDevices",
     "terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy", "securityContext", "stdin", "stdinOnce",
     "tty", "targetContainerName")
)  # fmt: skip
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def check_pod_spec(spec: Object, path: str, causes: Causes, *, is_new: bool = True) -> None:
    """A pod's spec; `path` is `spec` or `spec.template.spec`. One that `is_new` has no ephemeral containers."""
    volumes = _check_volumes(spec.get("volumes") or (), f"{path}.volumes", causes)
    host_network = bool(spec.get("hostNetwork"))
    containers = spec.get("containers") or []
    if not containers:
        causes.required(f"{path}.containers")
    names: set[str] = set()
    _check_containers(containers, f"{path}.containers", volumes, names, host_network, causes)
    _check_containers(
        spec.get("initContainers") or [], f"{path}.initContainers", volumes, names, host_network, causes, init=True
    )
    ephemeral = spec.get("ephemeralContainers") or []
    if ephemeral and is_new:
        causes.forbidden(f"{path}.ephemeralContainers", "cannot be set on create")
    elif ephemeral:
        _check_ephemeral(ephemeral, f"{path}.ephemeralContainers", volumes, names, host_network, causes)
    if spec.get("restartPolicy") not in _RESTART_POLICIES:
        _unsupported_or_required(f"{path}.restartPolicy", spec.get("restartPolicy"), _RESTART_POLICIES, causes)
    if spec.get("dnsPolicy") not in _DNS_POLICIES:
        _unsupported_or_required(f"{path}.dnsPolicy", spec.get("dnsPolicy"), _DNS_POLICIES, causes)
    check_not_negative(spec, "terminationGracePeriodSeconds", path, causes)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline < 2**31:
        causes.invalid(f"{path}.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive")
    check_labels(spec.get("nodeSelector"), f"{path}.nodeSelector", causes)
    _check_names(spec, path, causes)
    _check_tolerations(spec.get("tolerations") or (), f"{path}.tolerations", causes)
    check_placement(spec, path, causes)
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        for problem in ip_problems(alias.get("ip", "")):
            causes.invalid(f"{path}.hostAliases[{index}].ip", alias.get("ip", ""), problem)


def check_not_negative(holder: Mapping[str, Any], key: str, path: str, causes: Causes) -> None:
    """A number that, if given, is 0 or more."""
    value = holder.get(key)
    if value is not None and value < 0:
        causes.invalid(f"{path}.{key}", value, NOT_NEGATIVE)


def check_port(value: Any, path: str, causes: Causes) -> None:
    """A port by number or by the name it has in the container."""
    if isinstance(value, str):
        problems = port_name_problems(value)
    elif isinstance(value, int):
        problems = port_problems(value)
    else:
        causes.required(path)
        return
    for problem in problems:
        causes.invalid(path, value, problem)


def _unsupported_or_required(path: str, value: Any, supported: Collection[str], causes: Causes) -> None:
    if not value:
        causes.required(path)
    else:
        causes.unsupported(path, value, supported)


def _check_names(spec: Object, path: str, causes: Causes) -> None:
    for key, problems in (
        ("hostname", label_1123_problems),
        ("subdomain", label_1123_problems),
        ("nodeName", subdomain_1123_problems),
        ("serviceAccountName", subdomain_1123_problems),
    ):
        value = spec.get(key)
        for problem in problems(value) if value else ():
            causes.invalid(f"{path}.{key}", value, problem)


def _check_ephemeral(
    containers: Sequence[Object],
    path: str,
    volumes: Collection[str],
    names: set[str],
    host_network: bool,
    causes: Causes,
) -> None:
    """Ephemeral containers, which are looked at when the pod has the others of these `names`."""
    others = frozenset(names)
    _check_containers(containers, path, volumes, names, host_network, causes)
    for index, container in enumerate(containers):
        for key in sorted(key for key in container if container[key] and key not in _EPHEMERAL_FIELDS):
            causes.forbidden(f"{path}[{index}].{key}", "cannot be set for an Ephemeral Container")
        target = container.get("targetContainerName")
        if target and target not in others:
            causes.not_found(f"{path}[{index}].targetContainerName", target)


def _check_name(name: str, path: str, taken: set[str], causes: Causes) -> None:
    """One thing of several: it has a name, which no other has (and none of `taken`)."""
    if not name:
        causes.required(path)
    for problem in label_1123_problems(name) if name else ():
        causes.invalid(path, name, problem)
    if name and name in taken:
        causes.duplicate(path, name)
    taken.add(name)


def _check_containers(
    containers: Iterable[Object],
    path: str,
    volumes: Collection[str],
    names: set[str],
    host_network: bool,
    causes: Causes,
    *,
    init: bool = False,
) -> None:
    for index, container in enumerate(containers):
        place = f"{path}[{index}]"
        _check_name(container.get("name", ""), f"{place}.name", names, causes)
        image = container.get("image", "")
        if not image.strip():
            causes.required(f"{place}.image")
        elif image != image.strip():
            causes.invalid(f"{place}.image", image, "must not have leading or trailing whitespace")
        if container.get("imagePullPolicy") not in _PULL_POLICIES:
            _unsupported_or_required(
                f"{place}.imagePullPolicy", container.get("imagePullPolicy"), _PULL_POLICIES, causes
            )
        if container.get("terminationMessagePolicy") not in ("FallbackToLogsOnError", "File", None):
            value = container["terminationMessagePolicy"]
            causes.unsupported(f"{place}.terminationMessagePolicy", value, ("FallbackToLogsOnError", "File"))
        _check_ports(container.get("ports") or (), f"{place}.ports", host_network, causes)
        _check_environment(container, place, causes)
        _check_mounts(container.get("volumeMounts") or (), f"{place}.volumeMounts", volumes, causes)
        _check_resources(container.get("resources") or {}, f"{place}.resources", causes)
        restartable = container.get("restartPolicy") == "Always"
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            if probe in container and init and not restartable:
                causes.forbidden(f"{place}.{probe}", "may not be set for init containers without restartPolicy=Always")
            elif probe in container:
                _check_probe(container[probe], f"{place}.{probe}", probe, causes)
        for hook, handler in (container.get("lifecycle") or {}).items():
            if isinstance(handler, dict):
                _check_handler(handler, f"{place}.lifecycle.{hook}", (*_HANDLERS[:3], "sleep"), causes)
        if container.get("restartPolicy") not in (None, "Always") and init:
            causes.unsupported(f"{place}.restartPolicy", container["restartPolicy"], ("Always",))


def _check_ports(ports: Iterable[Object], path: str, host_network: bool, causes: Causes) -> None:
    names: set[str] = set()
    used: set[tuple[int, str, str]] = set()
    for index, port in enumerate(ports):
        place = f"{path}[{index}]"
        name = port.get("name", "")
        for problem in port_name_problems(name) if name else ():
            causes.invalid(f"{place}.name", name, problem)
        if name and name in names:
            causes.duplicate(f"{place}.name", name)
        names.add(name)
        number = port.get("containerPort", 0)
        if number == 0:
            causes.required(f"{place}.containerPort")
        else:
            check_port(number, f"{place}.containerPort", causes)
        host_port = port.get("hostPort", 0)
        if host_port:
            check_port(host_port, f"{place}.hostPort", causes)
            if host_network and host_port != number:
                causes.invalid(f"{place}.containerPort", number, "must match `hostPort` when `hostNetwork` is true")
            key = (host_port, port.get("protocol", "TCP"), port.get("hostIP", ""))
            if key in used:
                causes.duplicate(f"{place}.hostPort", "/".join(str(part) for part in (key[2], *key[:2])).lstrip("/"))
            used.add(key)
        if port.get("protocol") not in PROTOCOLS:
            _unsupported_or_required(f"{place}.protocol", port.get("protocol"), PROTOCOLS, causes)


def _check_environment(container: Object, path: str, causes: Causes) -> None:
    for index, variable in enumerate(container.get("env") or ()):
        place = f"{path}.env[{index}]"
        name = variable.get("name", "")
        if not name:
            causes.required(f"{place}.name")
        for problem in env_name_problems(name) if name else ():
            causes.invalid(f"{place}.name", name, problem)
        source = variable.get("valueFrom")
        if source is None:
            continue
        kinds = [key for key in ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef") if key in source]
        if variable.get("value"):
            causes.invalid(f"{place}.valueFrom", "", "may not be specified when `value` is not empty")
        if not kinds:
            causes.invalid(
                f"{place}.valueFrom",
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            )
        elif len(kinds) > 1:
            causes.invalid(f"{place}.valueFrom", "", "may not have more than one field specified at a time")
        for key in kinds:
            _check_source(source[key], key, f"{place}.valueFrom.{key}", causes)
    for index, source in enumerate(container.get("envFrom") or ()):
        place = f"{path}.envFrom[{index}]"
        if ("configMapRef" in source) == ("secretRef" in source):
            why = "must specify one of: `configMapRef` or `secretRef`"
            causes.invalid(
                place, "", why if "secretRef" not in source else "may not have more than one field specified"
            )
        for key in ("configMapRef", "secretRef"):
            if key in source and not source[key].get("name"):
                causes.required(f"{place}.{key}.name")


def _check_source(source: Object, kind: str, path: str, causes: Causes) -> None:
    if kind == "fieldRef":
        named = source.get("fieldPath", "")
        if not named:
            causes.required(f"{path}.fieldPath")
        elif named.partition("[")[0] not in _FIELD_PATHS.split():
            causes.unsupported(f"{path}.fieldPath", named, sorted(_FIELD_PATHS.split()))
    elif kind in ("configMapKeyRef", "secretKeyRef"):
        if not source.get("name"):
            causes.required(f"{path}.name")
        if not source.get("key"):
            causes.required(f"{path}.key")
        for problem in config_key_problems(source["key"]) if source.get("key") else ():
            causes.invalid(f"{path}.key", source["key"], problem)


def _check_mounts(mounts: Iterable[Object], path: str, volumes: Collection[str], causes: Causes) -> None:
    used: set[str] = set()
    for index, mount in enumerate(mounts):
        place = f"{path}[{index}]"
        name = mount.get("name", "")
        if not name:
            causes.required(f"{place}.name")
        elif name not in volumes:
            causes.not_found(f"{place}.name", name)
        target = mount.get("mountPath", "")
        if not target:
            causes.required(f"{place}.mountPath")
        elif target in used:
            causes.invalid(f"{place}.mountPath", target, "must be unique")
        used.add(target)
        below = mount.get("subPath", "")
        if below.startswith("/"):
            causes.invalid(f"{place}.subPath", below, "must be a relative path")
        elif ".." in below.split("/"):
            causes.invalid(f"{place}.subPath", below, "must not contain '..'")


def _check_resources(resources: Object, path: str, causes: Causes) -> None:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for key, amounts in (("limits", limits), ("requests", requests)):
        for name, text in sorted(amounts.items()):
            place = f"{path}.{key}[{name}]"
            if "/" not in name and name not in _STANDARD_RESOURCES and not name.startswith("hugepages-"):
                causes.invalid(place, name, "must be a standard resource type or fully qualified")
                causes.invalid(place, name, "must be a standard resource for containers")
            elif any(label_key_problems(name)):
                causes.invalid(place, name, label_key_problems(name)[0])
            if amount_of(text) < 0:
                causes.invalid(f"{path}.{key}[{name}]", text, NOT_NEGATIVE)
    for name in sorted(set(limits) & set(requests)):
        if amount_of(requests[name]) > amount_of(limits[name]):
            why = f"must be less than or equal to {name} limit of {limits[name]}"
            causes.invalid(f"{path}.requests", requests[name], why)
        elif "/" in name and amount_of(requests[name]) != amount_of(limits[name]):
            causes.invalid(f"{path}.requests", requests[name], f"must be equal to {name} limit of {limits[name]}")


def _check_probe(probe: Object, path: str, kind: str, causes: Causes) -> None:
    _check_handler(probe, path, _HANDLERS, causes)
    for key in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        check_not_negative(probe, key, path, causes)
    if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        causes.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and kind == "readinessProbe":
        why = "must not be set for readinessProbes"
        causes.invalid(f"{path}.terminationGracePeriodSeconds", grace, why)
    elif grace is not None and grace <= 0:
        causes.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")


def _check_handler(handler: Object, path: str, kinds: tuple[str, ...], causes: Causes) -> None:
    given = [kind for kind in kinds if kind in handler]
    if not given:
        causes.required(path, "must specify a handler type")
    for extra in given[1:]:
        causes.forbidden(f"{path}.{extra}", "may not specify more than 1 handler type")
    if given[:1] == ["exec"] and not handler["exec"].get("command"):
        causes.required(f"{path}.exec.command")
    if given[:1] == ["httpGet"]:
        action = handler["httpGet"]
        if not action.get("path"):
            causes.required(f"{path}.httpGet.path")
        check_port(action.get("port"), f"{path}.httpGet.port", causes)
        if action.get("scheme") not in ("HTTP", "HTTPS"):
            causes.unsupported(f"{path}.httpGet.scheme", action.get("scheme", ""), ("HTTP", "HTTPS"))
    if given[:1] in (["tcpSocket"], ["grpc"]):
        check_port(handler[given[0]].get("port"), f"{path}.{given[0]}.port", causes)


def _check_volumes(volumes: Iterable[Object], path: str, causes: Causes) -> set[str]:
    names: set[str] = set()
    for index, volume in enumerate(volumes):
        place = f"{path}[{index}]"
        _check_name(volume.get("name", ""), f"{place}.name", names, causes)
        sources = sorted(set(volume) - {"name"})
        for extra in sources[1:]:
            causes.forbidden(f"{place}.{extra}", "may not specify more than 1 volume type")
        _check_volume_source(volume, place, causes)
    return names


def _check_volume_source(volume: Object, path: str, causes: Causes) -> None:
    if "configMap" in volume and not volume["configMap"].get("name"):
        causes.required(f"{path}.configMap.name")
    if "secret" in volume and not volume["secret"].get("secretName"):
        causes.required(f"{path}.secret.secretName")
    if "hostPath" in volume and not volume["hostPath"].get("path"):
        causes.required(f"{path}.hostPath.path")
    for source in ("configMap", "secret", "downwardAPI"):
        if source in volume:
            _check_items(source, volume[source], f"{path}.{source}", causes)
    for index, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
        for kind, content in source.items():
            place = f"{path}.projected.sources[{index}].{kind}"
            if kind == "serviceAccountToken":
                _check_file_path(content.get("path", ""), f"{place}.path", causes)
            elif isinstance(content, dict):
                _check_items(kind, content, place, causes)
    limit = (volume.get("emptyDir") or {}).get("sizeLimit")
    if limit is not None and amount_of(limit) < Fraction(0):
        causes.forbidden(f"{path}.emptyDir.sizeLimit", "SizeLimit field must be a valid resource quantity")


def _check_items(kind: str, source: Object, path: str, causes: Causes) -> None:
    for index, item in enumerate(source.get("items") or ()):
        place = f"{path}.items[{index}]"
        if kind != "downwardAPI" and not item.get("key"):
            causes.required(f"{place}.key")
        _check_file_path(item.get("path", ""), f"{place}.path", causes)


def _check_file_path(text: str, path: str, causes: Causes) -> None:
    """Where a volume shows a file: below the volume."""
    if not text:
        causes.required(path)
    elif text.startswith("/"):
        causes.invalid(path, text, "must be a relative path")
    elif ".." in text.split("/"):
        causes.invalid(path, text, "must not contain '..'")
    elif text.startswith(".."):
        causes.invalid(path, text, "must not start with '..'")


def _check_tolerations(tolerations: Iterable[Object], path: str, causes: Causes) -> None:
    for index, toleration in enumerate(tolerations):
        place = f"{path}[{index}]"
        key, operator, effect = (toleration.get(name, "") for name in ("key", "operator", "effect"))
        for problem in label_key_problems(key) if key else ():
            causes.invalid(f"{place}.key", key, problem)
        if not key and operator != "Exists":
            why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            causes.invalid(f"{place}.operator", operator, why)
        if operator == "Exists" and toleration.get("value"):
            why = "value must be empty when `operator` is 'Exists'"
            causes.invalid(f"{place}.operator", toleration["value"], why)
        if operator not in ("", "Equal", "Exists"):
            causes.unsupported(f"{place}.operator", operator, ("Equal", "Exists"))
        if effect and effect not in _EFFECTS:
            causes.unsupported(f"{place}.effect", effect, _EFFECTS)
        if "tolerationSeconds" in toleration and effect != "NoExecute":
            why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            causes.invalid(f"{place}.effect", effect, why)
