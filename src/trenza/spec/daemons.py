"""Services out of decoded records."""

from __future__ import annotations

from collections.abc import Iterable

from trenza.model.names import NicName
from trenza.model.services import (
    Apache,
    Dnsmasq,
    Haproxy,
    Keepalived,
    RunService,
    Section,
    Server,
    Service,
    Syslog,
    TrackScript,
    VrrpOptions,
)
from trenza.model.state import Ready, Restart
from trenza.services import dnsmasq, keepalived
from trenza.spec.decode import Decoded


def service_of(name: str, record: Decoded) -> Service | None:
    """The service of that name; None where something it needs was wrong, and was said."""
    if record.bad:
        return None
    match name:
        case "keepalived":
            return Keepalived(
                vrrp=tuple(_vrrp(name, one) for name, one in record.table("vrrp").items() if not one.bad),
                scripts=tuple(
                    TrackScript(name, one.texts("script"), _numbers(one, keepalived.SCRIPT_NUMBERS))
                    for name, one in record.table("scripts").items()
                ),
                vrrp_startup_delay=record.number("vrrp_startup_delay"),
                config=record.text("config"),
            )
        case "haproxy":
            return Haproxy(
                (
                    *(_frontend(name, one) for name, one in record.table("frontends").items()),
                    *(_backend(name, one) for name, one in record.table("backends").items()),
                ),
                record.text("config"),
            )
        case "apache":
            default = Apache()
            return Apache(
                record.whole("listen") or default.listen,
                record.text("document_root") or default.document_root,
                record.flag("php", True),
                record.text("config"),
            )
        case "dnsmasq":
            return Dnsmasq(tuple(_lines(record, dnsmasq.OPTIONS)), record.text("config"))
        case "syslog":
            return Syslog()
        case _:
            return _run(name, record)


def _numbers(record: Decoded, names: Iterable[str]) -> dict[str, float]:
    return {name: value for name in names if (value := record.number(name)) is not None}


def _lines(record: Decoded, names: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Options that may be given several times, as keyword and rest."""
    return ((name, text) for name in names for text in record.texts(name))


def _vrrp(name: str, record: Decoded) -> VrrpOptions:
    default = VrrpOptions(name, NicName(record.text("nic") or ""), record.whole("id") or 1)
    priority, advert_int = record.whole("priority"), record.number("advert_int")
    return VrrpOptions(
        name,
        default.nic,
        default.id,
        default.priority if priority is None else priority,
        record.text("state") or default.state,
        default.advert_int if advert_int is None else advert_int,
        tuple(address for address, _ in record.interfaces("addresses")),
        record.flag("nopreempt", False),
        _numbers(record, keepalived.VRRP_NUMBERS),
        record.texts("track_script"),
        tuple(NicName(nic) for nic in record.texts("track_interface")),
    )


def _frontend(name: str, record: Decoded) -> Section:
    lines = [*_lines(record, ("bind",)), *_single(record, ("mode",)), *_lines(record, ("option", "acl", "use_backend"))]
    return Section("frontend", name, (*lines, *_single(record, ("default_backend",))))


def _backend(name: str, record: Decoded) -> Section:
    lines = [("balance", record.text("balance") or "roundrobin"), *_single(record, ("mode",))]
    lines += _lines(record, ("option",))
    retries = record.whole("retries")
    if retries is not None:
        lines.append(("retries", str(retries)))
    for kind, given in record.scalars("timeout").items():
        assert isinstance(given.value, int | float)
        lines.append(("timeout", f"{kind} {given.value * 1000:.0f}ms"))
    lines += _single(record, ("cookie",))
    servers = tuple(_server(name, one) for name, one in record.table("servers").items() if not one.bad)
    return Section("backend", name, tuple(lines), servers)


def _single(record: Decoded, names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, text) for name in names if (text := record.text(name)) is not None]


def _server(name: str, record: Decoded) -> Server:
    return Server(
        name,
        record.text("address") or "",
        record.flag("check", False),
        record.number("inter"),
        record.whole("fall"),
        record.whole("rise"),
        record.whole("weight"),
        record.text("cookie"),
        record.flag("backup", False),
    )


def _run(name: str, service: Decoded) -> RunService:
    ready = service.record("ready")
    restart = service.text("restart")
    return RunService(
        name=name,
        argv=service.texts("run"),
        ready=Ready() if ready is None else _ready(ready),
        restart=Restart.ON_FAILURE if restart is None else Restart(restart),
        env=tuple((variable, str(given.value)) for variable, given in service.scalars("env").items()),
        user=service.text("user") or "root",
    )


def _ready(ready: Decoded) -> Ready:
    deadline_s = ready.number("deadline")
    command = ready.texts("command")
    return Ready(
        tcp=ready.whole("tcp"),
        file=ready.text("file"),
        command=command or None,
        log=ready.text("log"),
        deadline_s=Ready().deadline_s if deadline_s is None else deadline_s,
    )
