"""Tables: what kernels have learnt or were told, and who answers for an address."""

from __future__ import annotations

from typing import Any

from trenza.check import judge
from trenza.check.verdict import NOTHING, Finding, Said, Verdict, failed, passed, same
from trenza.engine.spanning import differences
from trenza.keeper.questions.asker import Asker
from trenza.keeper.questions.traffic import meanwhile
from trenza.keeper.scene import Scene
from trenza.linux.asking.owners import who_has
from trenza.linux.asking.routes import route_get
from trenza.model.checks import (
    Arp,
    Fdb,
    Netns,
    NoIp,
    Owner,
    Stp,
)
from trenza.model.names import Interface, NodeName
from trenza.theory.spanning_tree import spanning_trees


def stp(asker: Asker, scene: Scene, question: Stp) -> Finding:
    root: tuple[Interface, ...] | None = None
    if isinstance(question.root, Interface):
        root = (scene.interface(question.root),)
    elif question.root is not None:
        node = scene.node(question.root)
        root = _bridges(scene, node)
    members = {
        scene.say(one): (scene.interface(one),) if isinstance(one, Interface) else _bridges(scene, scene.node(one))
        for one in question.members
    }
    blocked = question.blocked
    if isinstance(blocked, tuple):
        blocked = tuple(scene.interface(port) for port in blocked)
    told: list[str] = []
    if question.like_theory:
        trees = spanning_trees(scene.observed, scene.measured.ports)
        told = [
            f"{one.interface} {one.field} {one.kernel or '-'} ({one.theory or '-'})"
            for one in differences(scene.measured, trees)
        ]
    return judge.spanning_tree(
        scene.measured.bridges, scene.measured.ports, root=root, blocked=blocked, differences=told,
        like_theory=question.like_theory, members=members,
    )  # fmt: skip


def _bridges(scene: Scene, node: NodeName) -> tuple[Interface, ...]:
    return tuple(one.interface for one in scene.measured.bridges if one.interface.node == node)


async def fdb(asker: Asker, scene: Scene, question: Fdb) -> Finding:
    bridge = scene.interface(question.bridge)
    during = await meanwhile(asker, scene, question.during)
    if during is not None and during.verdict is not Verdict.PASS:
        return during
    measured = asker.engine.measure({bridge.node})
    entries = [one for one in measured.fdb if one.interface.node == bridge.node and one.bridge == bridge.nic]
    return judge.learnt(
        entries,
        has={scene.say(spot): scene.macs(spot) for spot in question.has},
        lacks={scene.say(spot): scene.macs(spot) for spot in question.lacks},
        count=question.count,
        only=question.only,
        owners={mac: str(interface) for mac, interface in scene.owners.items()},
    )


async def arp(asker: Asker, scene: Scene, question: Arp) -> Finding:
    node = scene.node(question.node)
    ip = scene.address(question.ip)
    during = await meanwhile(asker, scene, question.during)
    if during is not None and during.verdict is not Verdict.PASS:
        return during
    macs = scene.macs(question.owner)
    table = [one for one in asker.engine.measure({node}).neighbours if one.ip == ip and one.interface.node == node]
    shown = ", ".join(f"{one.mac or '-'} {one.state}" for one in table) or "-"
    evidence: dict[str, Any] = {"ip": str(ip), "table": shown}
    found = [one.mac for one in table if one.mac is not None]
    if found and set(found) <= macs:
        return passed(same(shown), **evidence)
    name, who = scene.say(question.node), scene.say(question.owner)
    if not found:
        because = Said(f"{name} has no entry for {ip}", f"{name} no tiene entrada para {ip}")
    else:
        whose = ", ".join(str(scene.owners.get(mac, mac)) for mac in found)
        because = Said(f"{ip} is at {whose}, not {who}", f"{ip} está en {whose}, no en {who}")
    return failed(same(shown), because=because, **evidence)


async def owner(asker: Asker, scene: Scene, question: Owner) -> Finding:
    seen_from = scene.handle(question.seen_from)
    owner = scene.node(question.owner)
    ip = scene.counterparts.address(question.of)
    route = await asker.in_thread(route_get, seen_from.netns, ip)
    name = scene.say(question.seen_from)
    if route.dev is None or route.via is not None:
        said = Said(f"{ip} is not on a link of {name}", f"{ip} no está en un enlace de {name}")
        return failed(said, because=said, stays=True)
    answers = await asker.in_thread(who_has, seen_from.netns, route.dev, ip)
    whose = {one.mac: scene.owners.get(one.mac) for one in answers}
    shown = ", ".join(str(whose[one.mac] or one.mac) for one in answers) or "-"
    evidence: dict[str, Any] = {
        "ip": str(ip),
        "answers": [{"mac": one.mac, "whose": str(whose[one.mac] or "")} for one in answers],
    }
    nodes = {interface.node if interface is not None else "" for interface in whose.values()}
    if nodes == {owner}:
        return passed(same(shown), **evidence)
    wanted = scene.say(question.owner)
    if not answers:
        because = Said(f"nobody answers ARP for {ip} to {name}", f"nadie responde ARP por {ip} a {name}")
    elif owner in nodes:
        because = Said(f"several answer for {ip}: {shown}", f"responden varios por {ip}: {shown}")
    else:
        because = Said(f"{shown} answers for {ip}, not {wanted}", f"por {ip} responde {shown}, no {wanted}")
    return failed(same(shown), because=because, **evidence)


def netns(asker: Asker, scene: Scene, question: Netns) -> Finding:
    host, container = scene.node(question.node), scene.node(question.container)
    names = asker.nodes.names_of_netns(container)
    shown = " ".join(sorted(names)) or "-"
    if question.name in names and container.startswith(f"{host}/"):
        return passed(same(shown), names=sorted(names))
    because = Said(
        f"{host} has no name {question.name} for {scene.say(question.container)} below /run/netns",
        f"{host} no tiene el nombre {question.name} para {scene.say(question.container)} en /run/netns",
    )
    return failed(same(shown), because=because, stays=True, names=sorted(names))


def no_ip(asker: Asker, scene: Scene, question: NoIp) -> Finding:
    nic = scene.interface(question.nic)
    own = [one.address for one in scene.measured.addresses if one.interface == nic and one.scope != "link"]
    evidence: dict[str, Any] = {"addresses": own}
    if not own:
        return passed(Said("no address", "sin dirección"), **evidence)
    shown = ", ".join(own)
    because = Said(f"{nic} has {shown}", f"{nic} tiene {shown}")
    end = scene.explainer.end(nic)
    port = getattr(end, "port", None)
    hint = NOTHING
    if port is not None:
        hint = Said(f"it is a port: give it to {port.bridge}", f"es un puerto: désela a {port.bridge}")
    return failed(same(shown), because=because, hint=hint, stays=True, **evidence)
