"""`show stp` in words: the kernel's spanning tree beside theory's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trenza.cli.speech import language, table, tr
from trenza.model.names import Interface, NicName, NodeName
from trenza.theory.spanning_tree import Reason, Tie
from trenza.theory.words import port_text, tie_text

Data = dict[str, Any]


def stp_text(bridges: Sequence[Data]) -> str:
    """Each bridge with its ports, what theory says and why, and below it where the two differ."""
    return "\n".join(line for one in bridges for line in _bridge_lines(one))


def _bridge_lines(one: Data) -> Iterator[str]:
    name = f"{one['node']} {one['bridge']}"
    if not one["stp"]:
        yield f"{name}: " + tr("STP is off", "STP apagado")
    else:
        yield f"{name}: id {one['bridge_id']}, {_root(one)}"
    theory = one["theory"]
    if theory is not None and theory["for_root"] is not None and one["is_root"] and not one["differences"]:
        reason = _reason(theory["for_root"])
        if reason is not None and reason.tie is not Tie.ONLY:
            yield f"  {tie_text(reason, language())}"
    if one["stp"] and one["ports"]:
        header = ["  PORT", "STATE", "ROLE", "COST", tr("THEORY", "TEORÍA"), tr("WHY", "POR QUÉ")]
        yield table(header, [_port_row(port) for port in one["ports"]])
    for difference in one["differences"][:1]:  # cost and root port follow from the root
        yield f"  {_difference(difference)}"
    for port in one["ports"]:
        for difference in port["differences"]:
            yield f"  {port['port']}: {_difference(difference)}"


def _root(one: Data) -> str:
    if one["is_root"]:
        return tr("this bridge is the root", "este puente es la raíz")
    theory = one["theory"]
    whose = ""
    if theory is not None and theory["root_id"] == one["root_id"]:
        whose = f" ({theory['root']})"
    return tr(
        f"root {one['root_id']}{whose} at cost {one['root_path_cost']} through {one['root_port']}",
        f"raíz {one['root_id']}{whose} a coste {one['root_path_cost']} por {one['root_port']}",
    )


def _port_row(port: Data) -> list[object]:
    theory = port["theory"]
    first = [f"  {port['port']}", port["state"], port["role"], port["cost"]]
    if theory is None:
        return [*first, "?", ""]
    same = (theory["state"], theory["role"]) == (port["state"], port["role"])
    said = tr("the same", "lo mismo") if same else f"{theory['state']} {theory['role']}"
    why = port_text(theory["role"], _reason(theory["for_root"]), _reason(theory["for_segment"]), language())
    return [*first, said, why]


_FIELDS = {
    "root_id": ("the root", "la raíz"),
    "root_path_cost": ("the root path cost", "el coste hasta la raíz"),
    "root_port": ("the root port", "el puerto raíz"),
    "state": ("the state", "el estado"),
    "role": ("the role", "el papel"),
    "designated_root": ("the root heard", "la raíz oída"),
    "designated_bridge": ("the designated bridge", "el puente designado"),
    "designated_cost": ("the designated cost", "el coste designado"),
}


def _difference(one: Data) -> str:
    what = tr(*_FIELDS[one["field"]])
    kernel, theory = one["kernel"] or tr("none", "ninguno"), one["theory"] or tr("nothing", "nada")
    left = one["remaining_s"]
    within = "" if left is None else tr(f", at most {left:.1f} s more", f", como mucho {left:.1f} s más")
    said = tr(
        f"{what} is {kernel} in the kernel, {theory} in theory",
        f"{what} es {kernel} en el kernel, {theory} en teoría",
    )
    return f"{said}: {_why(one['why'])}{within}"


def _why(code: str) -> str:
    match code:
        case "converging":
            return tr("still converging", "aún converge")
        case "hello-missing":
            return tr(
                "a hello has not arrived yet (or something stops it)", "aún no ha llegado un hello (o algo lo impide)"
            )
        case "old-information":
            return tr("what was heard before is believed until max age", "lo que se oyó antes vale hasta max age")
        case "by-hand":
            return tr("somebody set it by hand", "alguien lo puso a mano")
        case "carrier":
            return tr("its carrier is changing", "su portadora está cambiando")
        case "twins":
            return tr("two bridges have the same id", "dos puentes tienen el mismo id")
        case _:
            return tr("theory does not know what is at the far end", "la teoría no sabe qué hay en el otro extremo")


def _reason(data: Data | None) -> Reason | None:
    """A reason as it was before it became JSON."""
    if data is None:
        return None
    over = None if data["over"] is None else _interface(data["over"])
    return Reason(
        Tie(data["tie"]), _interface(data["winner"]), over, data["won"], data["lost"], data["by_number"],
        data["guessed"],
    )  # fmt: skip


def _interface(text: str) -> Interface:
    node, _, nic = text.partition(".")
    return Interface(NodeName(node), NicName(nic))
