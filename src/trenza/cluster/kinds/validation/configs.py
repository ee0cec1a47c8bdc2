"""The smaller kinds: config maps, secrets, namespaces, leases, events, bindings, reviews, tokens."""

from __future__ import annotations

import base64

from trenza.cluster.kinds.resources import Object
from trenza.cluster.kinds.rules import config_key_problems, label_key_problems
from trenza.cluster.kinds.status import Causes

MOST_BYTES = 1024 * 1024
_SHORTEST_TOKEN_S = 600
_LONGEST_TOKEN_S = 2**32
_NEEDED_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def check_config_map(config_map: Object, causes: Causes) -> None:
    """Keys of a ConfigMap, each once, and how much it holds."""
    texts, binaries = config_map.get("data") or {}, config_map.get("binaryData") or {}
    total = sum(len(value.encode()) for value in texts.values())
    for kind, values in (("data", texts), ("binaryData", binaries)):
        for key in sorted(values):
            for problem in config_key_problems(key):
                causes.invalid(f"{kind}[{key}]", key, problem)
    for key in sorted(set(texts) & set(binaries)):
        causes.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    total += sum(len(base64.b64decode(value)) for value in binaries.values())
    if total > MOST_BYTES:
        causes.too_long("", MOST_BYTES)


def check_secret(secret: Object, causes: Causes) -> None:
    """Keys of a Secret, those its type needs, and how much it holds."""
    data = secret.get("data") or {}
    for key in sorted(data):
        for problem in config_key_problems(key):
            causes.invalid(f"data[{key}]", key, problem)
    if sum(len(base64.b64decode(value)) for value in data.values()) > MOST_BYTES:
        causes.too_long("data", MOST_BYTES)
    for key in _NEEDED_KEYS.get(secret.get("type", ""), ()):
        if key not in data:
            causes.required(f"data[{key}]")
    if secret.get("type") == "kubernetes.io/service-account-token":
        annotations = (secret.get("metadata") or {}).get("annotations") or {}
        if not annotations.get("kubernetes.io/service-account.name"):
            causes.required("metadata.annotations[kubernetes.io/service-account.name]")


def check_namespace(namespace: Object, causes: Causes) -> None:
    """The finalizers of a Namespace."""
    for finalizer in (namespace.get("spec") or {}).get("finalizers") or ():
        for problem in label_key_problems(finalizer):
            causes.invalid("spec.finalizers", finalizer, problem)


def check_node(node: Object, causes: Causes) -> None:
    """Taints of a Node, each once for a key and effect."""
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate((node.get("spec") or {}).get("taints") or ()):
        path = f"spec.taints[{index}]"
        for problem in label_key_problems(taint.get("key", "")):
            causes.invalid(f"{path}.key", taint.get("key", ""), problem)
        effect = taint.get("effect", "")
        if not effect:
            causes.required(f"{path}.effect")
        elif effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
            causes.unsupported(f"{path}.effect", effect, ("NoSchedule", "PreferNoSchedule", "NoExecute"))
        key = (taint.get("key", ""), effect)
        if key in seen:
            causes.duplicate(path, {name: str(value) for name, value in taint.items()})
        seen.add(key)


def check_lease(lease: Object, causes: Causes) -> None:
    """Durations and transitions of a Lease."""
    spec = lease.get("spec") or {}
    if spec.get("leaseDurationSeconds") is not None and spec["leaseDurationSeconds"] <= 0:
        causes.invalid("spec.leaseDurationSeconds", spec["leaseDurationSeconds"], "must be greater than 0")
    if spec.get("leaseTransitions") is not None and spec["leaseTransitions"] < 0:
        causes.invalid("spec.leaseTransitions", spec["leaseTransitions"], "must be greater than or equal to 0")


def check_event(event: Object, causes: Causes) -> None:
    """An event lies in the namespace of what it is about; cluster-wide things' in `default`."""
    key = "regarding" if "regarding" in event else "involvedObject"
    about = event.get(key) or {}
    namespace = (event.get("metadata") or {}).get("namespace", "")
    theirs = about.get("namespace", "")
    if theirs != namespace and not (theirs == "" and namespace == "default"):
        causes.invalid(f"{key}.namespace", theirs, "does not match event.namespace")


def check_binding(binding: Object, causes: Causes) -> None:
    """A Binding names the node."""
    target = binding.get("target") or {}
    if target.get("kind") not in ("", None, "Node"):
        causes.unsupported("target.kind", target["kind"], ("Node", "<empty>"))
    if not target.get("name"):
        causes.required("target.name")


def check_access_review(review: Object, causes: Causes) -> None:
    """A (Self)SubjectAccessReview asks about a resource or about a path, not both."""
    spec = review.get("spec") or {}
    both = "resourceAttributes" in spec and "nonResourceAttributes" in spec
    if both:
        why = "cannot be specified in combination with resourceAttributes"
        causes.invalid("spec.nonResourceAttributes", spec["nonResourceAttributes"], why)
    elif "resourceAttributes" not in spec and "nonResourceAttributes" not in spec:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        causes.invalid("spec.resourceAttributes", None, why)
    if review.get("kind") == "SubjectAccessReview" and not spec.get("user") and not spec.get("groups"):
        causes.invalid("spec.user", "", "at least one of user or group must be specified")


def check_token_request(request: Object, causes: Causes) -> None:
    """How long a token may live."""
    seconds = (request.get("spec") or {}).get("expirationSeconds", 0)
    if seconds < _SHORTEST_TOKEN_S:
        causes.invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    elif seconds > _LONGEST_TOKEN_S:
        causes.invalid("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
