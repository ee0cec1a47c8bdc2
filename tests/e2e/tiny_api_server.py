"""An API server of a hundred lines over a dict: enough of one for a real kubectl to talk to the kinds.

Not the server of the clusters: no watch, no store, no controllers. Everything it says is made by trenza.cluster.kinds.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from trenza.cluster.kinds import discovery, negotiation, openapi
from trenza.cluster.kinds.bodies import Body, checked, field_validation, read_body, read_value
from trenza.cluster.kinds.defaults import with_defaults, with_pod_admission
from trenza.cluster.kinds.managed import after_update, applied
from trenza.cluster.kinds.patches import APPLY_PATCH, patched
from trenza.cluster.kinds.resources import Object, Resource, find_resource
from trenza.cluster.kinds.selectors import field_selector, label_selector
from trenza.cluster.kinds.status import ApiError, already_exists, method_not_allowed, no_such_path, not_found, success
from trenza.cluster.kinds.strategies import addressed, for_creation, for_update, named, scale_of, scaled
from trenza.cluster.kinds.tables import table
from trenza.cluster.kinds.validation.objects import validate_new, validate_request, validate_update

NOW_S = 1_800_000_000.0


class TinyApi:
    """The objects by key, and every request's method, path and body type."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.revision = 0
        self.random = Random(7)
        self.lock = threading.Lock()

    def put(self, resource: Resource, written: Object) -> Object:
        """Stores an object under the next version."""
        self.revision += 1
        metadata = {**written["metadata"], "resourceVersion": str(self.revision)}
        stored = {**written, "metadata": metadata}
        self.objects[resource.key(metadata.get("namespace", ""), metadata["name"])] = stored
        return stored

    def create(self, resource: Resource, body: Body, namespace: str, manager: str) -> Object:
        """Stores a new object as a server does."""
        written = named(addressed(resource, body.object, namespace), self.random)
        written = after_update(None, with_defaults(written), manager, NOW_S)
        if resource.plural == "pods":
            written = with_pod_admission(written)
        written = for_creation(resource, written, NOW_S, self.random)
        validate_new(resource, written)
        key = resource.key(namespace, written["metadata"]["name"])
        if key in self.objects:
            raise already_exists(resource, written["metadata"]["name"])
        return self.put(resource, written)

    def replace(
        self, resource: Resource, old: Object, new: Object, manager: str, *, keep_managers: bool = False
    ) -> Object:
        """Stores an object in place of an old one."""
        new = for_update(resource, old, with_defaults(new))
        validate_update(resource, old, new)
        return self.put(resource, new if keep_managers else after_update(old, new, manager, NOW_S))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5  # an idle connection would keep its thread, and the end of the test, waiting
    api: TinyApi

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        media = (self.headers.get("Content-Type") or "").partition(";")[0]
        self.api.requests.append((self.command, self.path, media))
        try:
            with self.api.lock:
                code, answer = self._answer(body, media)
        except ApiError as error:
            code, answer = error.status_code, error.status()
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", _media_type(answer))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _answer(self, body: bytes, media: str) -> tuple[int, Object | bytes]:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        accept = self.headers.get("Accept") or ""
        match [unquote(part) for part in url.path.strip("/").split("/")]:
            case ["version"]:
                return 200, discovery.version_document()
            case ["openapi", "v2"]:
                return 200, openapi.openapi_v2_protobuf() if "protobuf" in accept else openapi.openapi_v2_json()
            case ["openapi", "v3"]:
                return 200, openapi.openapi_v3_index()
            case ["openapi", "v3", "api", version]:
                return 200, openapi.openapi_v3("", version) or b""
            case ["openapi", "v3", "apis", group, version]:
                return 200, openapi.openapi_v3(group, version) or b""
            case [("api" | "apis") as root]:
                form = negotiation.aggregated_discovery(accept)
                if form is not None:
                    return 200, discovery.aggregated(core=root == "api", version=form)
                return 200, discovery.api_versions("127.0.0.1") if root == "api" else discovery.api_group_list()
            case ["api", "v1"]:
                return 200, discovery.find_resource_list("", "v1") or {}
            case ["apis", group, version]:
                return 200, discovery.find_resource_list(group, version) or {}
            case ["api", version, *rest]:
                return self._resource("", version, rest, query, body, media, accept)
            case ["apis", group, version, *rest]:
                return self._resource(group, version, rest, query, body, media, accept)
            case _:
                raise no_such_path()

    def _resource(
        self, group: str, version: str, rest: list[str], query: dict[str, str], body: bytes, media: str, accept: str
    ) -> tuple[int, Object | bytes]:
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        resource = find_resource(group, version, rest[0])
        if resource is None:
            raise no_such_path()
        if len(rest) == 1:
            return self._collection(resource, namespace, query, body, media, accept)
        return self._object(resource, namespace, rest[1], rest[2:], query, body, media, accept)

    def _collection(
        self, resource: Resource, namespace: str, query: dict[str, str], body: bytes, media: str, accept: str
    ) -> tuple[int, Object]:
        validation = field_validation(query.get("fieldValidation"))
        manager = query.get("fieldManager") or "unknown"
        if self.command == "POST":
            if "create" not in resource.verbs:
                raise method_not_allowed()
            read = read_body(body, media, resource.api_version, resource.kind, validation)
            if resource.verbs == ("create",):
                validate_request(resource.qualified_kind, read.object)
                return 201, {**read.object, "status": {"allowed": True}}
            return 201, self.api.create(resource, read, namespace, manager)
        labels, fields = (
            label_selector(query.get("labelSelector", "")),
            field_selector(query.get("fieldSelector", ""), resource),
        )
        every = [
            self.api.objects[key] for key in sorted(self.api.objects) if key.startswith(resource.prefix(namespace))
        ]
        kept = [one for one in every if labels.holds(one["metadata"].get("labels")) and fields.holds(one)]
        about = {"resourceVersion": str(self.api.revision)}
        if negotiation.wanted_form(accept) is negotiation.Form.TABLE:
            return 200, table(resource, kept, NOW_S + 65, list_metadata=about)
        listed = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": about, "items": kept}
        return 200, listed

    def _object(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        below: list[str],
        query: dict[str, str],
        body: bytes,
        media: str,
        accept: str,
    ) -> tuple[int, Object]:
        key, manager = resource.key(namespace, name), query.get("fieldManager") or "unknown"
        live = self.api.objects.get(key)
        if self.command == "PATCH" and media == APPLY_PATCH:
            value, _ = read_value(body, media, resource.kind)
            configuration = checked(
                value, resource.api_version, resource.kind, field_validation(query.get("fieldValidation"))
            )
            wanted = addressed(resource, configuration.object, namespace, name)
            merged = applied(live, wanted, manager, NOW_S, force=query.get("force") == "true")
            if live is None:
                fresh = for_creation(resource, with_defaults(merged), NOW_S, self.api.random)
                validate_new(resource, fresh)
                return 201, self.api.put(resource, fresh)
            return 200, self.api.replace(resource, live, merged, manager, keep_managers=True)
        if live is None:
            raise not_found(resource, name)
        if below == ["scale"]:
            scale = scale_of(resource, live)
            if self.command == "PATCH":
                scale = checked(
                    patched(scale, body, media, "autoscaling/v1", "Scale"), "autoscaling/v1", "Scale"
                ).object
                live = self.api.replace(resource, live, scaled(live, scale), manager)
            elif self.command == "PUT":
                scale = read_body(body, media, "autoscaling/v1", "Scale").object
                live = self.api.replace(resource, live, scaled(live, scale), manager)
            return 200, scale_of(resource, live)
        if below == ["token"]:
            request = with_defaults(read_body(body, media, "authentication.k8s.io/v1", "TokenRequest").object)
            validate_request("TokenRequest.authentication.k8s.io", request)
            return 201, {**request, "status": {"token": "t0ken", "expirationTimestamp": "2027-01-15T08:00:00Z"}}
        match self.command:
            case "GET":
                if negotiation.wanted_form(accept) is negotiation.Form.TABLE:
                    return 200, table(resource, [live], NOW_S + 65)
                return 200, live
            case "PUT":
                read = read_body(body, media, resource.api_version, resource.kind)
                return 200, self.api.replace(resource, live, addressed(resource, read.object, namespace, name), manager)
            case "PATCH":
                validation = field_validation(query.get("fieldValidation"))
                changed = patched(live, body, media, resource.api_version, resource.kind)
                changed = checked(changed, resource.api_version, resource.kind, validation).object
                return 200, self.api.replace(resource, live, changed, manager)
            case _:
                read_body(body or b"{}", media, "v1", "DeleteOptions")
                del self.api.objects[key]
                return 200, success(resource, name, live["metadata"]["uid"])


def _media_type(answer: Object | bytes) -> str:
    if isinstance(answer, bytes):
        return "application/json" if answer[:1] == b"{" else openapi.OCTET_STREAM
    if answer.get("kind") == "APIGroupDiscoveryList":
        return negotiation.discovery_media_type(answer["apiVersion"].rpartition("/")[2])
    return "application/json"


@contextmanager
def serving() -> Iterator[tuple[TinyApi, str]]:
    """The API and its URL, for as long as the block lasts."""
    api = TinyApi()
    handler = type("Handler", (_Handler,), {"api": api})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield api, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
