"""Lines to type: the commands that mend a machine, in its distribution's words."""

from __future__ import annotations

from trenza.linux.doctor.findings import Probe


def sudo(probe: Probe) -> str:
    """What to put before a command that only root may run."""
    return "" if probe.caller().uid == 0 else "sudo "


def sysctl_lines(probe: Probe, name: str, value: str) -> tuple[str, ...]:
    """Sets a sysctl now and at every boot."""
    return (
        f"echo '{name} = {value}' | {sudo(probe)}tee -a /etc/sysctl.d/60-trenza.conf",
        f"{sudo(probe)}sysctl -p /etc/sysctl.d/60-trenza.conf",
    )


def family(probe: Probe) -> str:
    """`debian`, `fedora` or "", by /etc/os-release's ID and ID_LIKE."""
    text = probe.read("/etc/os-release") or ""
    ids = {
        word
        for line in text.splitlines()
        if line.startswith(("ID=", "ID_LIKE="))
        for word in line.partition("=")[2].strip("\"'").split()
    }
    if ids & {"debian", "ubuntu"}:
        return "debian"
    return "fedora" if ids & {"fedora", "rhel", "centos"} else ""


def install_line(probe: Probe, debian: str, fedora: str) -> str:
    match family(probe):
        case "debian":
            return f"{sudo(probe)}apt-get install {debian}"
        case "fedora":
            return f"{sudo(probe)}dnf install {fedora}"
        case _:
            return f"# install, by their Debian names: {debian}"


def apparmor_profile_lines(probe: Probe) -> tuple[str, ...]:
    """A profile that leaves trenza unconfined but lets it make user namespaces; its children inherit it.

    Written by printf, not by a here-document, which would not survive being shown indented.
    """
    profile = (
        "abi <abi/4.0>,",
        "include <tunables/global>",
        f'profile trenza "{probe.caller().program}" flags=(unconfined) {{',
        "  userns,",
        "}",
    )
    quoted = " ".join(f"'{line}'" for line in profile)
    return (
        f"printf '%s\\n' {quoted} | {sudo(probe)}tee /etc/apparmor.d/trenza",
        f"{sudo(probe)}apparmor_parser --replace /etc/apparmor.d/trenza",
    )
