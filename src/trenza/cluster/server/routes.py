"""From a request to its answer: who asks, what path, what verb; then the registry, and the answer's form.

One `Api` for all connections. It never raises: a refusal is an answer, and so is a failure of ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from trenza.cluster.kinds import discovery, openapi
from trenza.cluster.kinds.negotiation import aggregated_discovery, discovery_media_type
from trenza.cluster.kinds.status import (
    ApiError,
    Details,
    forbidden,
    internal_error,
    method_not_allowed,
    no_such_path,
    unanswered,
    unauthorized,
    unavailable,
)
from trenza.cluster.server import flannel
from trenza.cluster.server.answers import (
    json_response,
    status_response,
    text_response,
)
from trenza.cluster.server.asked import Asked
from trenza.cluster.server.bearers import find_bearer
from trenza.cluster.server.http import Answer, Request, Response
from trenza.cluster.server.listing import flag
from trenza.cluster.server.nodestreams import NodeStreams
from trenza.cluster.server.registry import Registry
from trenza.cluster.server.targets import VERBS, target_of, verb_of
from trenza.cluster.server.users import ANONYMOUS, AUTHENTICATED, Tokens, User, may, may_visit, user_of_certificate
from trenza.cluster.store.errors import ReadOnly, StoreError, TooLarge, Unavailable

_LOG = logging.getLogger(__name__)
STORE = "/trenza/store"
"""How the store is, which no Kubernetes tells: its `Status` as JSON."""
_HEALTH = ("/healthz", "/livez", "/readyz")


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
            return status_response(unavailable(error.message))
        except Unavailable as error:
            return status_response(unanswered(error.message) if error.maybe_done else unavailable(error.message))
        except StoreError as error:
            return status_response(unavailable(error.message))
        except Exception as error:  # the root of a request: our own failure is told, and the server lives on
            _LOG.exception("%s %s", request.method, request.path)
            return status_response(internal_error(f"{type(error).__name__}: {error}"))

    async def _answer(self, request: Request) -> Answer:
        user = await self._user(request)
        target = target_of(request.path)
        if target is None:
            verb = VERBS.get(request.method, request.method.lower())
            if not may_visit(user, verb, request.path):
                raise _path_forbidden(user, verb, request.path)
            return await self._document(request)
        verb = verb_of(request, target)
        resource = target.resource
        if not may(user, verb, resource.group, resource.plural):
            raise forbidden(user.name, verb, resource, namespace=target.namespace, name=target.name)
        return await Asked(self.registry, self.tokens, self.nodes, request, user, target).answer(verb)

    async def _user(self, request: Request) -> User:
        authorization = request.header("authorization")
        user = user_of_certificate(request.certificate) if request.certificate is not None else None
        if user is None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() == "bearer" and token.strip():
                bearer = await find_bearer(self.registry, self.tokens, token.strip())
                if bearer is None or not bearer.is_for_us:
                    raise unauthorized()
                user = bearer.user
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
        if path == STORE:
            return json_response(asdict(await self.registry.store.status()))
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
        broken = bool(status.alarms) or not status.has_majority
        said = "\n".join(("[-]" if broken else "[!]") + problem for problem in problems)
        if broken:
            return text_response(f"{said}\nhealthz check failed\n", 500)
        if flag(request.parameters, "verbose"):
            lines = f"[+]ping ok\n[+]store ok\n{said}\n" if said else "[+]ping ok\n[+]store ok\n"
            return text_response(f"{lines}{request.path.strip('/')} check passed\n")
        return text_response("ok")


def _path_forbidden(user: User, verb: str, path: str) -> ApiError:
    return ApiError(403, "Forbidden", f'forbidden: User "{user.name}" cannot {verb} path "{path}"', Details())
