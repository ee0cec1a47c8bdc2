"""The numbers of a rolling update: how many pods more and how many fewer than wanted, and who shares what.

Percentages of the surge are rounded up, those of unavailability down; if both come to nothing, one pod may be missing,
because the update could not move otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trenza.cluster.controllers.objects import Object, annotations_of, created_s, name_of, spec_of, status_of
from trenza.cluster.controllers.revisions import MAXIMUM, Revisions, available_of, replicas_of


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a deployment's pods may stray from the number that is wanted."""

    wanted: int
    surge: int
    unavailable: int

    @property
    def most(self) -> int:
        return self.wanted + self.surge

    @property
    def least_available(self) -> int:
        return self.wanted - self.unavailable


def bounds_of(deployment: Object) -> Bounds:
    wanted = replicas_of(deployment)
    strategy = spec_of(deployment).get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return Bounds(wanted, 0, 0)
    rolling = strategy.get("rollingUpdate") or {}
    surge = scaled_value(rolling.get("maxSurge", "25%"), wanted, round_up=True)
    unavailable = scaled_value(rolling.get("maxUnavailable", "25%"), wanted, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Bounds(wanted, surge, min(unavailable, wanted))


def scaled_value(value: object, of: int, *, round_up: bool) -> int:
    """An IntOrString: a number, or a percentage of `of`. What is neither counts as nothing."""
    if isinstance(value, int):
        return value
    text = str(value)
    if not text.endswith("%") or not text[:-1].isdigit():
        return int(text) if text.isdigit() else 0
    share = int(text[:-1]) * of
    return -(-share // 100) if round_up else share // 100


def new_replicas(found: Revisions, bounds: Bounds, *, recreate: bool) -> int:
    """How many pods the new replica set may have now."""
    now = 0 if found.new is None else replicas_of(found.new)
    if recreate or now > bounds.wanted:
        return bounds.wanted
    room = bounds.most - found.held_pods
    return now + max(0, min(room, bounds.wanted - now))


def old_replicas(found: Revisions, bounds: Bounds) -> dict[str, int]:
    """How many pods each older replica set may keep now, by name; those that keep theirs are left out.

    Unhealthy pods go first, for nobody misses them; then as many as are available beyond the least.
    """
    new_missing = 0 if found.new is None else replicas_of(found.new) - available_of(found.new)
    spare = found.wanted_pods - bounds.least_available - new_missing
    kept = {name_of(thing): replicas_of(thing) for thing in found.old}
    if spare <= 0:
        return {}
    for thing in found.old:
        unhealthy = min(spare, max(0, kept[name_of(thing)] - available_of(thing)))
        kept[name_of(thing)] -= unhealthy
        spare -= unhealthy
    surplus = min(spare, sum(available_of(thing) for thing in found.every) - bounds.least_available)
    for thing in found.old:
        gone = max(0, min(surplus, kept[name_of(thing)]))
        kept[name_of(thing)] -= gone
        surplus -= gone
    return {name_of(thing): kept[name_of(thing)] for thing in found.old if kept[name_of(thing)] != replicas_of(thing)}


def proportional_replicas(deployment: Object, found: Revisions, bounds: Bounds) -> dict[str, int]:
    """How many pods each active replica set gets when a deployment is scaled amid a rollout, by name.

    Each keeps its share; what rounding leaves over is made up by the largest, and by the next where it has no more.
    """
    sharers = found.active
    allowed = bounds.most if bounds.wanted > 0 else 0
    to_add = allowed - sum(replicas_of(thing) for thing in sharers)
    # The largest first; of equal ones the newer gains first and the older loses first.
    age = -1 if to_add > 0 else 1
    ordered = sorted(sharers, key=lambda t: (-replicas_of(t), age * created_s(t), name_of(t)))
    shared = {}
    added = 0
    for thing in ordered:
        share = _share(deployment, thing, bounds)
        left = to_add - added
        share = min(share, left) if to_add > 0 else max(share, left)
        added += share
        shared[name_of(thing)] = replicas_of(thing) + share
    for thing in ordered:
        change = max(to_add - added, -shared[name_of(thing)])
        shared[name_of(thing)] += change
        added += change
    return shared


def _share(deployment: Object, thing: Object, bounds: Bounds) -> int:
    if bounds.wanted == 0:
        return -replicas_of(thing)
    before = annotations_of(thing).get(MAXIMUM, "")
    whole = int(before) if before.isdigit() else int(status_of(deployment).get("replicas") or 0)
    if whole == 0:
        return 0
    return math.floor(replicas_of(thing) * bounds.most / whole + 0.5) - replicas_of(thing)
