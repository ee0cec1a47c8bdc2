"""One request about a resource: from its path, query and body to the registry, and back to the form it wants.

Everything that is refused here is raised as an ApiError; `routes` answers with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from trenza.cluster.kinds.bodies import FieldValidation, checked, field_validation, read_body, read_value
from trenza.cluster.kinds.defaults import with_defaults
from trenza.cluster.kinds.managed import applied, manager_name
from trenza.cluster.kinds.names import timestamp
from trenza.cluster.kinds.patches import APPLY_PATCH, patched
from trenza.cluster.kinds.resources import Object, Resource, get_resource
from trenza.cluster.kinds.status import (
    ApiError,
    Causes,
    bad_request,
    invalid,
    not_found,
    success,
    uid_mismatch,
)
from trenza.cluster.kinds.strategies import addressed, scale_of, scaled
from trenza.cluster.kinds.validation.objects import validate_request
from trenza.cluster.server import streams
from trenza.cluster.server.answers import (
    Wanted,
    json_response,
    list_response,
    object_response,
    stored_response,
    watch_response,
)
from trenza.cluster.server.bearers import find_bearer
from trenza.cluster.server.deletion import ANSWERS_WITH_OBJECT, DeleteOptions, delete_options
from trenza.cluster.server.http import Answer, Request, Response
from trenza.cluster.server.listing import flag, list_options
from trenza.cluster.server.nodestreams import NodeStreams
from trenza.cluster.server.registry import CREATED_BY_PUT, Outcome, Registry, Writer
from trenza.cluster.server.reviews import reviewed
from trenza.cluster.server.targets import Target
from trenza.cluster.server.users import Tokens, User
from trenza.cluster.server.versions import from_storage, storage_resource, to_storage

_BINDABLE = {("v1", "Pod"): get_resource("", "v1", "pods"), ("v1", "Secret"): get_resource("", "v1", "secrets")}


@dataclass(slots=True)
class Asked:
    """One request about a resource."""

    registry: Registry
    tokens: Tokens
    nodes: NodeStreams
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
        return Wanted.of(self.request.header("accept"), include, self.registry.now_s())

    def _validation(self) -> FieldValidation:
        return field_validation(self.request.parameters.get("fieldValidation"))

    def _writer(self, options: str) -> Writer:
        query = self.request.parameters
        causes = Causes()
        dry_run = self.request.values("dryRun")
        if any(one != "All" for one in dry_run):
            causes.unsupported("dryRun", list(dry_run), ["All"])
        manager = manager_name(query.get("fieldManager", ""), self.request.header("user-agent"), causes)
        if causes.found:
            raise invalid(f"{options}.meta.k8s.io", "", causes.found)
        return Writer(manager, bool(dry_run))

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
        listed = await self.registry.list(self.kept_as, self.target.namespace, options)
        return list_response(self.resource, listed, wanted)

    def _watch(self) -> Response:
        query = self.request.parameters
        options = list_options(query, self.resource, watch=True)
        name = self.target.name
        if name and self.target.legacy_watch:
            options = list_options({**query, "fieldSelector": f"metadata.name={name}"}, self.resource, watch=True)
        events = self.registry.watch(self.kept_as, self.target.namespace, options)
        return watch_response(self.resource, events, self._wanted(), options.timeout_s)

    async def _get(self) -> Response:
        if self.target.legacy_watch or flag(self.request.parameters, "watch"):
            self.target = replace(self.target, legacy_watch=True)
            return self._watch()
        wanted = self._wanted()
        stored = await self.registry.get(self.kept_as, self.target.namespace, self.target.name)
        return stored_response(self.resource, stored, wanted)

    async def _create(self) -> Response:
        resource, registry = self.resource, self.registry
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
            pods = get_resource("", "v1", "pods")
            self.target = Target(
                pods, self.target.namespace, (question.get("metadata") or {}).get("name", ""), "binding"
            )
            return await self._bind(question)
        validate_request(self.resource.qualified_kind, question)
        token = (question.get("spec") or {}).get("token") if question["kind"] == "TokenReview" else None
        bearer = await find_bearer(self.registry, self.tokens, str(token)) if token else None
        return json_response(reviewed(question, self.user, bearer), 201)

    async def _put(self, subresource: str) -> Response:
        resource, target, registry = self.resource, self.target, self.registry
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
        resource, target, registry = self.resource, self.target, self.registry
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
        resource, target, registry = self.resource, self.target, self.registry
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
        outcome = await self.registry.delete(self.kept_as, target.namespace, target.name, options, writer)
        if outcome.now is not None or resource.group_plural in ANSWERS_WITH_OBJECT:
            return self._written(outcome)
        return json_response(success(resource, target.name, outcome.last["metadata"].get("uid", "")))

    async def _delete_collection(self) -> Response:
        options = list_options(self.request.parameters, self.resource)
        how = self._delete_options()
        wanted = self._wanted()
        listed = await self.registry.delete_collection(
            self.kept_as, self.target.namespace, options, how, Writer("unknown", how.dry_run)
        )
        return list_response(self.resource, listed, wanted)

    # --- below objects

    async def _below(self, verb: str) -> Answer:
        match self.target.below:
            case "status" | "finalize" | "ephemeralcontainers" as subresource:
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
        resource, target, registry = self.resource, self.target, self.registry
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
        account = await self.registry.read(self.resource, self.target.namespace, self.target.name)
        asked = with_defaults(self._read_as("authentication.k8s.io/v1", "TokenRequest"))
        validate_request("TokenRequest.authentication.k8s.io", asked)
        spec, now_s = asked["spec"], self.registry.now_s()
        metadata = account["metadata"]
        bound_to = await self._bound_to(spec.get("boundObjectRef"), metadata["namespace"])
        token = self.tokens.signed(account, spec.get("audiences") or (), now_s, spec["expirationSeconds"], bound_to)
        status = {"token": token, "expirationTimestamp": timestamp(now_s + spec["expirationSeconds"])}
        shown = {"name": metadata["name"], "namespace": metadata["namespace"], "creationTimestamp": timestamp(now_s)}
        return json_response({**asked, "metadata": shown, "status": status}, 201)

    async def _bound_to(self, reference: Object | None, namespace: str) -> Object | None:
        """The pod or secret with which a token is to end. Raises 400, 404 and, where it is another, 409."""
        if reference is None:
            return None
        kind, name, uid = (str(reference.get(key, "")) for key in ("kind", "name", "uid"))
        resource = _BINDABLE.get((str(reference.get("apiVersion", "")), kind))
        if resource is None:
            raise bad_request(f"cannot bind token for serviceaccount to object of type {kind}")
        found = await self.registry.read(resource, namespace, name)
        if uid and uid != found["metadata"]["uid"]:
            raise uid_mismatch(resource, name, uid, found["metadata"]["uid"])
        return {**found, "kind": kind}

    async def _bind(self, binding: Object) -> Response:
        target = self.target
        if (binding.get("metadata") or {}).get("name", target.name) != target.name:
            raise bad_request("name in URL does not match name in Binding object")
        validate_request("Binding", binding)
        await self.registry.bind(target.resource, target.namespace, target.name, binding, self._writer("CreateOptions"))
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
        await self.registry.evict(self.resource, target.namespace, target.name, how, writer)
        return json_response(_created(), 201)

    async def _streamed(self) -> Answer:
        pod = await self.registry.read(self.resource, self.target.namespace, self.target.name)
        if not (pod.get("spec") or {}).get("nodeName"):
            raise bad_request(f"pod {self.target.name} does not have a host assigned")
        nodes, now_s = self.nodes, self.registry.now_s()
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
