"""From a request to its answer: who asks, what path, what verb; then the registry, and the answer's form.

One `Api` for all connections. It never raises: a refusal is an answer, and so is a failure of ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from trenza.cluster.kinds import discovery, openapi
from trenza.cluster.kinds.bodies import FieldValidation, checked, field_validation, read_body, read_value
from trenza.cluster.kinds.defaults import with_defaults
from trenza.cluster.kinds.managed import applied
from trenza.cluster.kinds.names import timestamp
from trenza.cluster.kinds.negotiation import aggregated_discovery, discovery_media_type
from trenza.cluster.kinds.patches import APPLY_PATCH, patched
from trenza.cluster.kinds.resources import Object, Resource, Subresource, find_resource
from trenza.cluster.kinds.status import (
    ApiError,
    Causes,
    Details,
    bad_request,
    forbidden,
    internal_error,
    invalid,
    method_not_allowed,
    no_such_path,
    not_found,
    success,
    unauthorized,
    unavailable,
)
from trenza.cluster.kinds.strategies import addressed, scale_of, scaled
from trenza.cluster.kinds.validation.objects import validate_request
from trenza.cluster.server import flannel, streams
from trenza.cluster.server.answers import (
    Wanted,
    json_response,
    list_response,
    object_response,
    status_response,
    stored_response,
    text_response,
    watch_response,
)
from trenza.cluster.server.deletion import ANSWERS_WITH_OBJECT, DeleteOptions, delete_options
from trenza.cluster.server.http import Answer, Request, Response
from trenza.cluster.server.listing import flag, list_options
from trenza.cluster.server.nodestreams import NodeStreams
from trenza.cluster.server.registry import CREATED_BY_PUT, Outcome, Registry, Writer
from trenza.cluster.server.reviews import reviewed
from trenza.cluster.server.users import ANONYMOUS, AUTHENTICATED, Tokens, User, may, may_visit, user_of_certificate
from trenza.cluster.server.versions import from_storage, storage_resource, to_storage
from trenza.cluster.store.errors import ReadOnly, StoreError, TooLarge

_LOG = logging.getLogger(__name__)
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_HEALTH = ("/healthz", "/livez", "/readyz")
_MANAGER_BYTES = 128


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names: a collection, an object, or something below one. `legacy_watch` is `/api/v1/watch/…`."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    below: str = ""
    legacy_watch: bool = False

    @property
    def subresource(self) -> Subresource | None:
        """The subresource, if one is named and there is one."""
        return self.resource.subresource(self.below)


@dataclass(slots=True)
class Api:
    """See the module. `address` is host and port as clients reach the server."""

    registry: Registry
    tokens: Tokens
    nodes: NodeStreams
    address: str
    _documents: dict[str, bytes] = field(default_factory=dict)

    async def answer(self, request: Request) -> Answer:
        """The answer, whatever happens."""
        try:
            return await self._answer(request)
        except ApiError as error:
            return status_response(error)
        except TooLarge as error:
            return status_response(ApiError(413, "RequestEntityTooLarge", error.message))
        except ReadOnly as error:
            return status_response(unavailable(error.message, retry_after_s=10))
        except StoreError as error:
            return status_response(unavailable(error.message))
        except Exception as error:  # the root of a request: our own failure is told, and the server lives on
            _LOG.exception("%s %s", request.method, request.path)
            return status_response(internal_error(f"{type(error).__name__}: {error}"))

    async def _answer(self, request: Request) -> Answer:
        user = self._user(request)
        target = target_of(request.path)
        if target is None:
            verb = _VERBS.get(request.method, request.method.lower())
            if not may_visit(user, verb, request.path):
                raise _path_forbidden(user, verb, request.path)
            return await self._document(request)
        verb = _verb(request, target)
        resource = target.resource
        if not may(user, verb, resource.group, resource.plural):
            raise forbidden(user.name, verb, resource, namespace=target.namespace, name=target.name)
        return await _Asked(self, request, user, target).answer(verb)

    def _user(self, request: Request) -> User:
        authorization = request.header("authorization")
        user = user_of_certificate(request.certificate) if request.certificate is not None else None
        if user is None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() == "bearer" and token.strip():
                user = self.tokens.user_of(token.strip(), self.registry.now_s())
            elif authorization:
                raise unauthorized()
        who = request.header("impersonate-user")
        if user is None:
            return ANONYMOUS
        if who:
            if not user.is_master:
                why = f'users "{who}" is forbidden: User "{user.name}" cannot impersonate resource "users"'
                raise ApiError(
                    403, "Forbidden", f'{why} in API group "" at the cluster scope', Details(who, "", "users")
                )
            groups = [one.strip() for one in request.header("impersonate-group").split(",") if one.strip()]
            return User(who, (*groups, AUTHENTICATED))
        return user

    # --- what is no resource

    async def _document(self, request: Request) -> Response:
        path, accept = request.path.rstrip("/") or "/", request.header("accept")
        if path.startswith(flannel.ROOT):
            return await flannel.answered(self.registry.store, request)
        parts = path.strip("/").split("/")
        found = self._found(path, parts, accept)
        if found is None and path.startswith(_HEALTH):
            return await self._health(request)
        if found is None:
            raise no_such_path()
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        return found

    def _found(self, path: str, parts: list[str], accept: str) -> Response | None:
        match parts:
            case [""]:
                return json_response({"paths": list(discovery.paths())})
            case ["version"]:
                return json_response(discovery.version_document())
            case ["api" | "apis" as root]:
                return self._groups(root, accept)
            case ["api", version]:
                listed = discovery.find_resource_list("", version)
            case ["apis", group]:
                listed = discovery.find_api_group(group)
            case ["apis", group, version]:
                listed = discovery.find_resource_list(group, version)
            case ["openapi", "v2"] if "protobuf" in accept:
                kept = self._kept("v2.pb", openapi.openapi_v2_protobuf)
                return Response(200, kept, openapi.OCTET_STREAM)
            case ["openapi", "v2"]:
                return Response(200, self._kept("v2", openapi.openapi_v2_json))
            case ["openapi", "v3"]:
                listed = openapi.openapi_v3_index()
            case ["openapi", "v3", "api", version]:
                return self._schemas("", version)
            case ["openapi", "v3", "apis", group, version]:
                return self._schemas(group, version)
            case _:
                return None
        return json_response(listed) if listed is not None else None

    def _groups(self, root: str, accept: str) -> Response:
        form = aggregated_discovery(accept)
        if form is not None:
            whole = discovery.aggregated(core=root == "api", version=form)
            return json_response(whole, content_type=discovery_media_type(form))
        if root == "api":
            return json_response(discovery.api_versions(self.address))
        return json_response(discovery.api_group_list())

    def _schemas(self, group: str, version: str) -> Response | None:
        content = openapi.openapi_v3(group, version)
        return Response(200, content) if content is not None else None

    def _kept(self, name: str, made: Callable[[], bytes]) -> bytes:
        if name not in self._documents:
            self._documents[name] = made()
        return self._documents[name]

    async def _health(self, request: Request) -> Response:
        status = await self.registry.store.status()
        problems = [
            *status.alarms,
            *(f"{one.name}: {one.problem}" for one in status.members if one.problem is not None),
        ]
        # A member that is lost is no reason to say no: the store answers while a majority does.
        broken = bool(status.alarms) or all(one.problem is not None for one in status.members)
        said = "\n".join(("[-]" if broken else "[!]") + problem for problem in problems)
        if broken:
            return text_response(f"{said}\nhealthz check failed\n", 500)
        if flag(request.parameters, "verbose"):
            lines = f"[+]ping ok\n[+]store ok\n{said}\n" if said else "[+]ping ok\n[+]store ok\n"
            return text_response(f"{lines}{request.path.strip('/')} check passed\n")
        return text_response("ok")


def target_of(path: str) -> Target | None:
    """The resource that a path is about, None if it is about none. Raises the 404 of a resource that is not served."""
    match path.strip("/").split("/"):
        case ["api", version, first, *rest]:
            group, parts = "", [first, *rest]
        case ["apis", group, version, first, *rest]:
            parts = [first, *rest]
        case _:
            return None
    legacy = parts[0] == "watch" and len(parts) > 1
    if legacy:
        parts = parts[1:]
    match parts:
        case ["namespaces", name, ("status" | "finalize") as below]:
            return _target(group, version, "namespaces", "", name, below, legacy)
        case ["namespaces", namespace, plural, *below] if len(below) < 3:
            name, under = [*below, "", ""][:2]
            target = _target(group, version, plural, namespace, name, under, legacy)
            if not target.resource.namespaced:
                raise no_such_path()
            return target
        case [plural, *below] if len(below) < 3:
            name, under = [*below, "", ""][:2]
            target = _target(group, version, plural, "", name, under, legacy)
            if name and target.resource.namespaced:
                raise no_such_path()
            return target
        case _:
            raise no_such_path()


def _target(group: str, version: str, plural: str, namespace: str, name: str, below: str, legacy: bool) -> Target:
    resource = find_resource(group, version, plural)
    if resource is None or (below and resource.subresource(below) is None):
        raise no_such_path()
    return Target(resource, namespace, name, below, legacy)


def _verb(request: Request, target: Target) -> str:
    """The verb as rules know it. Raises a 405."""
    verb = _VERBS.get(request.method)
    if verb is None:
        raise method_not_allowed()
    if target.below:
        allowed: tuple[str, ...] = target.subresource.verbs if target.subresource is not None else ()
    else:
        allowed = target.resource.verbs
        if not target.name:
            if verb == "get":
                verb = "watch" if target.legacy_watch or flag(request.parameters, "watch") else "list"
            elif verb == "delete":
                verb = "deletecollection"
            elif verb != "create" or (target.resource.namespaced and not target.namespace and "get" in allowed):
                raise method_not_allowed()
        elif verb == "create":
            raise method_not_allowed()
    if verb not in allowed:
        raise method_not_allowed()
    return verb


def _path_forbidden(user: User, verb: str, path: str) -> ApiError:
    return ApiError(403, "Forbidden", f'forbidden: User "{user.name}" cannot {verb} path "{path}"', Details())


@dataclass(slots=True)
class _Asked:
    """One request about a resource."""

    api: Api
    request: Request
    user: User
    target: Target
    warnings: tuple[str, ...] = ()

    @property
    def resource(self) -> Resource:
        return self.target.resource

    @property
    def kept_as(self) -> Resource:
        """The resource in the version that the store holds."""
        return storage_resource(self.target.resource)

    @property
    def media_type(self) -> str:
        return self.request.header("content-type").partition(";")[0].strip()

    async def answer(self, verb: str) -> Answer:
        if self.target.below:
            return await self._below(verb)
        match verb:
            case "list":
                return await self._list()
            case "watch":
                return self._watch()
            case "get":
                return await self._get()
            case "create":
                return await self._create()
            case "update":
                return await self._put("")
            case "patch":
                return await self._patch("")
            case "delete":
                return await self._delete()
            case _:
                return await self._delete_collection()

    # --- how

    def _wanted(self) -> Wanted:
        include = self.request.parameters.get("includeObject", "")
        return Wanted.of(self.request.header("accept"), include, self.api.registry.now_s())

    def _validation(self) -> FieldValidation:
        return field_validation(self.request.parameters.get("fieldValidation"))

    def _writer(self, options: str) -> Writer:
        query = self.request.parameters
        causes = Causes()
        dry_run = self.request.values("dryRun")
        if any(one != "All" for one in dry_run):
            causes.unsupported("dryRun", list(dry_run), ["All"])
        manager = query.get("fieldManager", "")
        if len(manager) > _MANAGER_BYTES:
            causes.too_long("fieldManager", _MANAGER_BYTES)
        if causes.found:
            raise invalid(f"{options}.meta.k8s.io", "", causes.found)
        program = self.request.header("user-agent").partition("/")[0][:_MANAGER_BYTES]
        return Writer(manager or program or "unknown", bool(dry_run))

    def _read(self, resource: Resource) -> Object:
        body = read_body(self.request.body, self.media_type, resource.api_version, resource.kind, self._validation())
        self.warnings += body.warnings
        return body.object

    def _written(self, outcome: Outcome, status: int = 200) -> Response:
        written = from_storage(self.resource, outcome.last)
        return object_response(self.resource, written, self._wanted(), status, self.warnings)

    # --- collections and objects

    async def _list(self) -> Response:
        options = list_options(self.request.parameters, self.resource)
        wanted = self._wanted()
        listed = await self.api.registry.list(self.kept_as, self.target.namespace, options)
        return list_response(self.resource, listed, wanted)

    def _watch(self) -> Response:
        query = self.request.parameters
        options = list_options(query, self.resource, watch=True)
        name = self.target.name
        if name and self.target.legacy_watch:
            options = list_options({**query, "fieldSelector": f"metadata.name={name}"}, self.resource, watch=True)
        events = self.api.registry.watch(self.kept_as, self.target.namespace, options)
        return watch_response(self.resource, events, self._wanted(), options.timeout_s)

    async def _get(self) -> Response:
        if self.target.legacy_watch or flag(self.request.parameters, "watch"):
            self.target = replace(self.target, legacy_watch=True)
            return self._watch()
        wanted = self._wanted()
        stored = await self.api.registry.get(self.kept_as, self.target.namespace, self.target.name)
        return stored_response(self.resource, stored, wanted)

    async def _create(self) -> Response:
        resource, registry = self.resource, self.api.registry
        self._wanted()
        writer = self._writer("CreateOptions")
        if resource.verbs == ("create",):
            return await self._asked_only()
        written = addressed(resource, self._read(resource), self.target.namespace)
        if resource.plural == "pods":
            await registry.expect_account(resource, written)
        outcome = await registry.create(self.kept_as, to_storage(resource, written), writer)
        return self._written(outcome, 201)

    async def _asked_only(self) -> Response:
        """A review, or a Binding posted to its collection."""
        question = self._read(self.resource)
        if self.resource.plural == "bindings":
            pods = find_resource("", "v1", "pods")
            assert pods is not None
            self.target = Target(
                pods, self.target.namespace, (question.get("metadata") or {}).get("name", ""), "binding"
            )
            return await self._bind(question)
        validate_request(self.resource.qualified_kind, question)
        api = self.api
        return json_response(reviewed(question, self.user, api.tokens, api.registry.now_s()), 201)

    async def _put(self, subresource: str) -> Response:
        resource, target, registry = self.resource, self.target, self.api.registry
        writer = self._writer("UpdateOptions")
        body = to_storage(resource, addressed(resource, self._read(resource), target.namespace, target.name))
        try:
            outcome = await registry.update(
                self.kept_as, target.namespace, target.name, lambda _: body, writer, subresource=subresource
            )
        except ApiError as error:
            creates = self.kept_as.group_plural in CREATED_BY_PUT and not subresource
            if error.status_code != 404 or not creates or (body["metadata"].get("resourceVersion") or "0") != "0":
                raise
            return self._written(await registry.create(self.kept_as, body, writer), 201)
        return self._written(outcome)

    async def _patch(self, subresource: str) -> Response:
        resource, target, registry = self.resource, self.target, self.api.registry
        writer = self._writer("PatchOptions")
        if self.media_type == APPLY_PATCH:
            return await self._apply(subresource, writer)
        validation = self._validation()

        def change(live: Object) -> Object:
            shown = from_storage(resource, live)
            changed = patched(shown, self.request.body, self.media_type, resource.api_version, resource.kind)
            body = checked(changed, resource.api_version, resource.kind, validation)
            self.warnings = body.warnings
            return to_storage(resource, addressed(resource, body.object, target.namespace, target.name))

        outcome = await registry.update(
            self.kept_as, target.namespace, target.name, change, writer, subresource=subresource
        )
        return self._written(outcome)

    async def _apply(self, subresource: str, writer: Writer) -> Response:
        """Server-side apply: the object as it is with what the manager says about it, or a new one."""
        resource, target, registry = self.resource, self.target, self.api.registry
        query = self.request.parameters
        causes = Causes()
        if not query.get("fieldManager"):
            causes.required("fieldManager", "is required for apply patch")
        if causes.found:
            raise invalid("PatchOptions.meta.k8s.io", "", causes.found)
        value, repeated = read_value(self.request.body, self.media_type, resource.kind)
        if not isinstance(value, dict):
            raise bad_request("an apply patch is an object")
        said = (value.get("metadata") or {}).get("name") if isinstance(value.get("metadata"), dict) else None
        if not said:
            raise bad_request(
                f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
            )
        if (value.get("apiVersion"), value.get("kind")) != (resource.api_version, resource.kind):
            raise bad_request(f"the object is no {resource.kind} of {resource.api_version}")
        body = checked(value, resource.api_version, resource.kind, self._validation(), repeated)
        self.warnings = body.warnings
        wanted = to_storage(resource, addressed(resource, body.object, target.namespace, target.name))
        force = flag(query, "force")

        def change(live: Object) -> Object:
            return applied(live, wanted, writer.manager, registry.now_s(), force=force)

        try:
            outcome = await registry.update(
                self.kept_as, target.namespace, target.name, change, writer, subresource=subresource, keep_managers=True
            )
        except ApiError as error:
            if error.status_code != 404 or subresource:
                raise
            made = applied(None, wanted, writer.manager, registry.now_s(), force=force)
            return self._written(await registry.create(self.kept_as, made, writer), 201)
        return self._written(outcome)

    def _delete_options(self) -> DeleteOptions:
        body = read_body(self.request.body or b"{}", self.media_type, "v1", "DeleteOptions").object
        query = self.request.parameters
        if "gracePeriodSeconds" in query:
            try:
                body.setdefault("gracePeriodSeconds", int(query["gracePeriodSeconds"]))
            except ValueError:
                raise bad_request("gracePeriodSeconds is a number") from None
        if query.get("propagationPolicy"):
            body.setdefault("propagationPolicy", query["propagationPolicy"])
        if "orphanDependents" in query:
            body.setdefault("orphanDependents", flag(query, "orphanDependents"))
        if self.request.values("dryRun"):
            body["dryRun"] = list(self.request.values("dryRun"))
        return delete_options(body)

    async def _delete(self) -> Response:
        resource, target = self.resource, self.target
        options = self._delete_options()
        writer = Writer("unknown", options.dry_run)
        outcome = await self.api.registry.delete(self.kept_as, target.namespace, target.name, options, writer)
        if outcome.now is not None or resource.group_plural in ANSWERS_WITH_OBJECT:
            return self._written(outcome)
        return json_response(success(resource, target.name, outcome.last["metadata"]["uid"]))

    async def _delete_collection(self) -> Response:
        options = list_options(self.request.parameters, self.resource)
        how = self._delete_options()
        wanted = self._wanted()
        listed = await self.api.registry.delete_collection(
            self.kept_as, self.target.namespace, options, how, Writer("unknown", how.dry_run)
        )
        return list_response(self.resource, listed, wanted)

    # --- below objects

    async def _below(self, verb: str) -> Answer:
        match self.target.below:
            case "status" | "finalize" as subresource:
                if verb == "get":
                    return await self._get()
                return await (self._put(subresource) if verb == "update" else self._patch(subresource))
            case "scale":
                return await self._scale(verb)
            case "token":
                return await self._token()
            case "binding":
                return await self._bind(self._read_as("v1", "Binding"))
            case "eviction":
                return await self._evict()
            case _:
                return await self._streamed()

    def _read_as(self, api_version: str, kind: str) -> Object:
        return read_body(self.request.body, self.media_type, api_version, kind, self._validation()).object

    async def _scale(self, verb: str) -> Response:
        resource, target, registry = self.resource, self.target, self.api.registry
        if verb == "get":
            live = await registry.read(resource, target.namespace, target.name)
            return json_response(scale_of(resource, live))
        writer = self._writer("UpdateOptions")
        asked = self._read_as("autoscaling/v1", "Scale") if verb == "update" else None

        def change(live: Object) -> Object:
            scale = asked
            if scale is None:
                shown = patched(scale_of(resource, live), self.request.body, self.media_type, "autoscaling/v1", "Scale")
                scale = checked(shown, "autoscaling/v1", "Scale", self._validation()).object
            replicas = (scale.get("spec") or {}).get("replicas", 0)
            if replicas < 0:
                causes = Causes()
                causes.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
                raise invalid("Scale.autoscaling", target.name, causes.found)
            return scaled(live, scale)

        outcome = await registry.update(resource, target.namespace, target.name, change, writer)
        return json_response(scale_of(resource, outcome.last))

    async def _token(self) -> Response:
        account = await self.api.registry.read(self.resource, self.target.namespace, self.target.name)
        asked = with_defaults(self._read_as("authentication.k8s.io/v1", "TokenRequest"))
        validate_request("TokenRequest.authentication.k8s.io", asked)
        spec, now_s = asked["spec"], self.api.registry.now_s()
        metadata = account["metadata"]
        token = self.api.tokens.signed(
            metadata["namespace"],
            metadata["name"],
            metadata["uid"],
            spec.get("audiences") or (),
            now_s,
            spec["expirationSeconds"],
        )
        status = {"token": token, "expirationTimestamp": timestamp(now_s + spec["expirationSeconds"])}
        shown = {"name": metadata["name"], "namespace": metadata["namespace"], "creationTimestamp": timestamp(now_s)}
        return json_response({**asked, "metadata": shown, "status": status}, 201)

    async def _bind(self, binding: Object) -> Response:
        target = self.target
        if (binding.get("metadata") or {}).get("name", target.name) != target.name:
            raise bad_request("name in URL does not match name in Binding object")
        validate_request("Binding", binding)
        await self.api.registry.bind(
            target.resource, target.namespace, target.name, binding, self._writer("CreateOptions")
        )
        return json_response(_created(), 201)

    async def _evict(self) -> Response:
        target = self.target
        body, _ = read_value(self.request.body, self.media_type, "Eviction")
        if not isinstance(body, dict) or body.get("kind", "Eviction") != "Eviction":
            raise bad_request("the body is no Eviction")
        metadata, options = body.get("metadata") or {}, body.get("deleteOptions") or {}
        if not isinstance(metadata, dict) or not isinstance(options, dict):
            raise bad_request("metadata and deleteOptions of an Eviction are objects")
        if metadata.get("name", target.name) != target.name:
            raise bad_request("name in URL does not match name in Eviction object")
        how = checked(options, "v1", "DeleteOptions").object
        writer = self._writer("CreateOptions")
        await self.api.registry.evict(self.resource, target.namespace, target.name, how, writer)
        return json_response(_created(), 201)

    async def _streamed(self) -> Answer:
        pod = await self.api.registry.read(self.resource, self.target.namespace, self.target.name)
        if not (pod.get("spec") or {}).get("nodeName"):
            raise bad_request(f"pod {self.target.name} does not have a host assigned")
        nodes, now_s = self.api.nodes, self.api.registry.now_s()
        match self.target.below:
            case "log":
                return await streams.logs(nodes, pod, self.request, now_s)
            case "exec":
                return await streams.execution(nodes, pod, self.request)
            case "attach":
                return await streams.attachment(nodes, pod, self.request)
            case "portforward":
                return streams.forwarding(nodes, pod, self.request)
            case _:
                raise not_found(self.resource, self.target.name)


def _created() -> Object:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
