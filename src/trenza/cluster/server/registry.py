"""Resources over a store: what every reader and writer of the API goes through, the controllers included.

Reads are as new as the store's. A write is a loop: read, change, check, write where nothing has changed meanwhile; so a
patch never loses another's write, and an object that says a resourceVersion is refused (409) when that is not current.
What was last written here is taken for what is there until the store says otherwise: most writes are one question.
A write that changes nothing is not made. Nothing new is written into a namespace that is being terminated: each
creation is bound to the namespace's own revision, so that it and the end of the namespace cannot both happen.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from random import Random

from trenza.cluster.kinds.defaults import TOLERATION_S, with_defaults, with_pod_admission
from trenza.cluster.kinds.managed import after_update
from trenza.cluster.kinds.names import generated_name, resource_version
from trenza.cluster.kinds.resources import Object, Resource, get_resource
from trenza.cluster.kinds.status import (
    ApiError,
    Causes,
    GoText,
    already_exists,
    conflict,
    continue_expired,
    expired,
    forbidden_because,
    generated_name_taken,
    invalid,
    namespace_terminating,
    not_found,
    too_many_requests,
    uid_mismatch,
    version_too_large,
)
from trenza.cluster.kinds.strategies import (
    bound,
    finalized,
    for_creation,
    for_status_update,
    for_update,
    named,
    with_ephemeral,
)
from trenza.cluster.kinds.validation.objects import validate_ephemeral, validate_new, validate_update
from trenza.cluster.kinds.validation.services import Ranges
from trenza.cluster.server.allocator import Allocator
from trenza.cluster.server.deletion import DeleteOptions, Gone, delete_options, deleted, may_go
from trenza.cluster.server.listing import EXACT, Continue, ListOptions
from trenza.cluster.server.stored import Latest, Reader, value_of
from trenza.cluster.server.watching import Seen, watched
from trenza.cluster.store.errors import Compacted, Conflict, FutureRevision, NoSuchLease
from trenza.cluster.store.protocol import Store, Stored, Write

_TRIES = 20
_NAMES_TRIED = 8
_EVENT_TTL_S = 3600
_EVENT_LEASE_S = 300
# Objects of these kinds are replaced only by who says which version was seen.
_CONDITIONAL = frozenset(("coordination.k8s.io/leases", "/serviceaccounts"))
# … and these are made by a PUT where there is none.
CREATED_BY_PUT = frozenset(("coordination.k8s.io/leases", "/endpoints", "/events"))
_NAMESPACES = get_resource("", "v1", "namespaces")
_ACCOUNTS = get_resource("", "v1", "serviceaccounts")

Change = Callable[[Object], Object]


@dataclass(frozen=True, slots=True)
class Writer:
    """On whose behalf a write is made: the field manager, and whether it is only tried."""

    manager: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a list: what is stored, the list's revision, and how to go on."""

    items: tuple[Stored, ...]
    revision: int
    next: Continue | None = None
    remaining: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A write that was made (or needed not be): the object as it is, None if it is gone, and as it was last."""

    now: Object | None
    last: Object
    revision: int


@dataclass(slots=True)
class _EventLease:
    """The store's lease that events of these minutes live by."""

    id: int = 0
    until_s: float = 0.0


@dataclass(slots=True)
class Registry:
    """See the module. `now_s` is the wall clock: it is what objects say."""

    store: Store
    services: IPv4Network | IPv6Network
    now_s: Callable[[], float]
    random: Random
    reader: Reader = field(default_factory=Reader)
    eviction_s: int = TOLERATION_S
    _allocator: Allocator = field(init=False)
    _ranges: Ranges = field(init=False)
    _latest: Latest = field(default_factory=Latest)
    _namespaces: dict[str, Stored] = field(default_factory=dict)
    _event_lease: _EventLease = field(default_factory=_EventLease)

    def __post_init__(self) -> None:
        self._allocator = Allocator(self.store, self.services)
        self._ranges = Ranges(self.services)

    # --- reading

    async def get(self, resource: Resource, namespace: str, name: str) -> Stored:
        """The stored object. Raises the 404."""
        stored = await self.store.get(resource.key(namespace, name))
        if stored is None:
            raise not_found(resource, name)
        return stored

    async def read(self, resource: Resource, namespace: str, name: str) -> Object:
        """The object. Raises the 404."""
        return self.reader.object_of(await self.get(resource, namespace, name))

    async def list(self, resource: Resource, namespace: str, options: ListOptions) -> Listed:
        """A page of the collection. Raises 410 for a past that is gone and 504 for what is to come."""
        page, revision = options.page, None
        if page is not None:
            revision = page.revision
        elif options.version is not None:
            if options.match == EXACT:
                revision = options.version
            elif options.version > (current := await self.store.revision()):
                raise version_too_large(options.version, current)
        try:
            return await self._pages(resource, namespace, options, revision)
        except Compacted as error:
            raise (continue_expired() if page is not None else expired()) from error
        except FutureRevision as error:
            raise version_too_large(revision or 0, error.revision) from error

    async def _pages(self, resource: Resource, namespace: str, options: ListOptions, revision: int | None) -> Listed:
        kept: list[Stored] = []
        after = options.page.after if options.page is not None else None
        prefix = resource.prefix(namespace)
        name = options.fields.exact("metadata.name")
        if name and (namespace or not resource.namespaced) and revision is None:
            # One read: an object and a revision asked for one after the other would let a watch miss what lies between.
            key = resource.key(namespace, name)
            only = await self.store.range(key)
            found = (one for one in only.items if one.key == key and options.holds(self.reader.object_of(one)))
            return Listed(tuple(found), only.revision)
        while True:
            page = await self.store.range(prefix, after=after, limit=options.limit, revision=revision)
            revision = page.revision
            for place, stored in enumerate(page.items):
                if options.selects and not options.holds(self.reader.object_of(stored)):
                    continue
                kept.append(stored)
                if options.limit and len(kept) == options.limit:
                    left = len(page.items) - place - 1 + page.remaining
                    following = Continue(revision, stored.key) if left else None
                    return Listed(tuple(kept), revision, following, 0 if options.selects else left)
            if not page.more:
                return Listed(tuple(kept), revision)
            after = page.items[-1].key

    def watch(self, resource: Resource, namespace: str, options: ListOptions) -> AsyncIterator[tuple[Seen, ...]]:
        """See `watching.watched`."""
        return watched(self.store, self.reader, resource, namespace, options)

    # --- writing

    async def create(self, resource: Resource, written: Object, writer: Writer) -> Outcome:
        """A new object; its namespace is in its metadata. Raises 403, 404, 409, 422."""
        generated = not written["metadata"].get("name")
        for _ in range(_NAMES_TRIED):
            try:
                return await self._create(resource, named(written, self.random), writer)
            except ApiError as error:
                if not generated or error.reason != "AlreadyExists":
                    raise
                taken = error
        raise generated_name_taken(resource, taken.details.name if taken.details is not None else "")

    async def _create(self, resource: Resource, written: Object, writer: Writer) -> Outcome:
        made = with_defaults(written)
        if resource.group_plural == "/pods":
            volume = await self._token_volume(made)
            made = with_pod_admission(made, token_volume=volume, toleration_s=self.eviction_s)
        now_s = self.now_s()
        made = for_creation(resource, made, now_s, self.random)
        validate_new(resource, made, self._ranges)
        if "managedFields" not in made["metadata"]:
            made = after_update(None, made, writer.manager, now_s)
        if resource.group_plural != "/services":
            return await self._insert(resource, made, writer)
        name = made["metadata"]["name"]
        async with self._allocator.held():
            if await self.store.get(resource.key(made["metadata"]["namespace"], name)) is not None:
                raise already_exists(resource, name)  # before its own address is found to be taken
            return await self._insert(resource, await self._allocator.given(made), writer)

    async def _insert(self, resource: Resource, made: Object, writer: Writer) -> Outcome:
        metadata = made["metadata"]
        name, namespace = metadata["name"], metadata.get("namespace", "")
        key = resource.key(namespace, name)
        for _ in range(_TRIES):
            expected = {key: 0}
            if resource.namespaced:
                home = await self._namespace(resource, namespace, name)
                expected[home.key] = home.mod_revision
            if writer.dry_run:
                if await self.store.get(key) is not None:
                    raise already_exists(resource, name)
                return Outcome(made, made, 0)
            lease = await self._lease() if resource.plural == "events" else 0
            value = value_of(made)
            try:
                done = await self.store.transact(expected, (Write(key, value, lease),))
            except Conflict as error:
                if error.key == key:
                    raise already_exists(resource, name) from error
                self._namespaces.pop(namespace, None)
                continue
            except NoSuchLease:
                self._event_lease = _EventLease()
                continue
            self._latest.written(Stored(key, value, done.revision, done.revision, 1, lease))
            return self._made(resource, key, made, done.revision)
        raise too_many_requests(f"namespace {namespace} changes too fast")

    async def _namespace(self, resource: Resource, namespace: str, name: str) -> Stored:
        """The namespace that something new goes into, as it was last seen. Raises 404 and 403."""
        stored = self._namespaces.get(namespace)
        if stored is None:
            stored = self._namespaces[namespace] = await self.get(_NAMESPACES, "", namespace)
        if "deletionTimestamp" in self.reader.object_of(stored)["metadata"]:
            self._namespaces.pop(namespace)
            raise namespace_terminating(resource, name, namespace)
        return stored

    async def _lease(self) -> int:
        now_s = self.now_s()
        if now_s >= self._event_lease.until_s:
            lease = await self.store.grant(_EVENT_TTL_S)
            self._event_lease = _EventLease(lease.id, now_s + _EVENT_LEASE_S)
        return self._event_lease.id

    async def update(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        change: Change,
        writer: Writer,
        *,
        subresource: str = "",
        keep_managers: bool = False,
    ) -> Outcome:
        """The object as `change` wants it, which is asked again whenever somebody else was faster.

        `subresource` "" is everything but the status, `status` the status alone, `finalize` a namespace's finalizers,
        `ephemeralcontainers` a pod's.
        Raises 404, 409, 422 and what `change` raises.
        """

        async def attempt(live: Object) -> Object:
            wanted = change(live)
            _check_identity(resource, live, wanted)
            return await self._updated(
                resource, live, wanted, writer, subresource=subresource, keep_managers=keep_managers
            )

        lock = self._allocator.held() if resource.group_plural == "/services" else contextlib.nullcontext()
        async with lock:
            return await self._replace(resource, namespace, name, attempt, writer)

    async def _updated(
        self,
        resource: Resource,
        live: Object,
        wanted: Object,
        writer: Writer,
        *,
        subresource: str,
        keep_managers: bool,
    ) -> Object:
        """The wanted object as it would be stored, checked."""
        match subresource:
            case "status":
                new = for_status_update(live, wanted)
            case "finalize":
                new = finalized(live, wanted)
            case "ephemeralcontainers":
                new = with_defaults(with_ephemeral(live, wanted))
                validate_ephemeral(resource, live, new)
            case _:
                new = for_update(resource, live, with_defaults(wanted))
                if resource.group_plural == "/services":
                    validate_update(resource, live, new, self._ranges)
                    new = await self._allocator.given(new)
                validate_update(resource, live, new, self._ranges)
        if keep_managers:
            return new
        return after_update(live, new, writer.manager, self.now_s(), subresource=subresource)

    async def _replace(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        attempt: Callable[[Object], Awaitable[Object]],
        writer: Writer,
    ) -> Outcome:
        guess = None if writer.dry_run else self._latest.take(resource.key(namespace, name))
        for _ in range(_TRIES):
            stored, guessed = guess or await self.get(resource, namespace, name), guess is not None
            guess = None
            try:
                live = self.reader.object_of(stored)
                outcome = await self._write(resource, stored, live, await attempt(live), writer)
            except (Conflict, NoSuchLease):
                continue
            except ApiError:
                if guessed:
                    continue  # it may be so no longer
                raise
            if guessed and outcome.revision == stored.mod_revision:
                continue  # nothing was written, so nothing said whether it is still so
            return outcome
        raise conflict(resource, name)

    async def _write(self, resource: Resource, stored: Stored, live: Object, new: Object, writer: Writer) -> Outcome:
        """Put `new` in the place of `stored`, or take it away if there is nothing that it waits for any more."""
        if may_go(resource, new):
            return await self._remove(resource, stored, new, writer)
        value = value_of(new)
        if value == stored.value:
            return Outcome(live, live, stored.mod_revision)
        if writer.dry_run:
            return Outcome(new, new, stored.mod_revision)
        revision = await self.store.put(stored.key, value, expected=stored.mod_revision, lease=stored.lease)
        self._latest.written(replace(stored, value=value, mod_revision=revision, version=stored.version + 1))
        return self._made(resource, stored.key, new, revision)

    async def _remove(self, resource: Resource, stored: Stored, last: Object, writer: Writer) -> Outcome:
        if writer.dry_run:
            return Outcome(None, last, stored.mod_revision)
        _, revision = await self.store.delete(stored.key, expected=stored.mod_revision)
        if resource.group_plural == "/namespaces":
            self._namespaces.pop(last["metadata"]["name"], None)
        if resource.group_plural == "/services":
            self._allocator.noted(stored.key, None, revision)
        return Outcome(None, _versioned(last, revision), revision)

    def _made(self, resource: Resource, key: str, written: Object, revision: int) -> Outcome:
        if resource.group_plural == "/services":
            self._allocator.noted(key, written, revision)
        versioned = _versioned(written, revision)
        return Outcome(versioned, versioned, revision)

    async def delete(
        self, resource: Resource, namespace: str, name: str, options: DeleteOptions, writer: Writer
    ) -> Outcome:
        """The object marked, or gone. Raises 403, 404, 409."""
        writer = Writer(writer.manager, writer.dry_run or options.dry_run)
        for _ in range(_TRIES):
            stored = await self.get(resource, namespace, name)
            live = self.reader.object_of(stored)
            becomes = deleted(resource, live, options, self.now_s())
            try:
                if isinstance(becomes, Gone):
                    return await self._remove(resource, stored, live, writer)
                return await self._write(resource, stored, live, becomes.object, writer)
            except (Conflict, NoSuchLease):
                continue
        raise conflict(resource, name)

    async def delete_collection(
        self, resource: Resource, namespace: str, options: ListOptions, how: DeleteOptions, writer: Writer
    ) -> Listed:
        """Every object that the options select, each as `delete` does it; the list is of what there was."""
        listed = await self.list(resource, namespace, options)
        for stored in listed.items:
            metadata = self.reader.object_of(stored)["metadata"]
            try:
                await self.delete(resource, metadata.get("namespace", ""), metadata["name"], how, writer)
            except ApiError as error:
                if error.status_code != 404:
                    raise
        return listed

    # --- pods

    async def bind(self, resource: Resource, namespace: str, name: str, binding: Object, writer: Writer) -> Outcome:
        """The pod goes to a node. Raises 409 if it has one, or is on its way out."""
        uid = (binding.get("metadata") or {}).get("uid")

        async def attempt(live: Object) -> Object:
            if uid and uid != live["metadata"]["uid"]:
                raise uid_mismatch(resource, name, uid, live["metadata"]["uid"])
            return bound(resource, live, binding, self.now_s())

        return await self._replace(resource, namespace, name, attempt, writer)

    async def evict(self, resource: Resource, namespace: str, name: str, body: Object, writer: Writer) -> Outcome:
        """The pod is deleted as an Eviction asks. There are no disruption budgets to ask."""
        options = delete_options(body.get("deleteOptions") or {})
        return await self.delete(resource, namespace, name, options, writer)

    async def _token_volume(self, pod: Object) -> str | None:
        """A name for the volume with the token of a new pod's account; None where that wants its pods to have none."""
        account = await self.store.get(_ACCOUNTS.key(pod["metadata"].get("namespace", ""), _account_of(pod)))
        said = None if account is None else self.reader.object_of(account).get("automountServiceAccountToken")
        if said is False and (pod.get("spec") or {}).get("automountServiceAccountToken") is not True:
            return None
        return generated_name("kube-api-access-", self.random)

    async def expect_account(self, resource: Resource, pod: Object) -> None:
        """Raises the 403 of a pod that names a service account that is not there; `default` comes by itself."""
        account = _account_of(pod)
        namespace = pod["metadata"]["namespace"]
        if account != "default" and await self.store.get(_ACCOUNTS.key(namespace, account)) is None:
            why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
            raise forbidden_because(resource, pod["metadata"].get("name", ""), why)


def _account_of(pod: Object) -> str:
    spec = pod.get("spec") or {}
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")


def _versioned(written: Object, revision: int) -> Object:
    return {**written, "metadata": {**written["metadata"], "resourceVersion": resource_version(revision)}}


def _check_identity(resource: Resource, live: Object, wanted: Object) -> None:
    """Raises 409 if the writer saw another version or another object, 422 if a version had to be said."""
    metadata = wanted.get("metadata") or {}
    name = live["metadata"]["name"]
    uid = metadata.get("uid")
    if uid and uid != live["metadata"]["uid"]:
        raise uid_mismatch(resource, name, uid, live["metadata"]["uid"])
    version = metadata.get("resourceVersion") or ""
    if version in ("", "0"):
        if resource.group_plural in _CONDITIONAL:
            causes = Causes()
            causes.invalid("metadata.resourceVersion", GoText("0x0"), "must be specified for an update")
            raise invalid(resource.qualified_kind, name, causes.found)
    elif version != live["metadata"]["resourceVersion"]:
        raise conflict(resource, name)
