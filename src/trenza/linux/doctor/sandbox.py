"""Whether a sandbox can be made, and if not, which of the known causes refuses it.

The settings are looked at only after a trial failed: a machine that restricts others but not trenza is fine.
"""

from __future__ import annotations

from collections.abc import Iterator

from trenza.linux.doctor.cures import apparmor_profile_lines, sysctl_lines
from trenza.linux.doctor.findings import Finding, Level, Probe, Trial


def is_wsl1(version: str) -> bool:
    """WSL 1 has no Linux kernel: it says `4.4.0-19041-Microsoft`, where WSL 2 says `…-microsoft-standard-WSL2`."""
    return "Microsoft" in version and "WSL2" not in version and "microsoft-standard" not in version


def sandbox_findings(probe: Probe) -> Iterator[Finding]:
    trial = probe.trial()
    if not trial.step:
        yield Finding(
            "sandbox", Level.FINE,
            "A sandbox can be made: user, mount, network and pid namespaces work.",
            "Se puede crear un recinto: funcionan los espacios de nombres de usuario, montaje, red y pid.",
        )  # fmt: skip
        return
    yield _refusal(probe, trial)


def _refusal(probe: Probe, trial: Trial) -> Finding:
    """Why no sandbox could be made: the first cause that this machine shows, likeliest first."""
    no_en, no_es = "No sandbox can be made: ", "No se puede crear un recinto: "
    root = probe.caller().uid == 0
    if is_wsl1(probe.read("/proc/version") or ""):
        return Finding(
            "wsl1", Level.MISSING,
            f"{no_en}this is WSL 1, which has no Linux kernel. Convert the distribution to WSL 2 (typed in Windows).",
            f"{no_es}esto es WSL 1, que no tiene núcleo Linux. Convierta la distribución a WSL 2 (desde Windows).",
            ("wsl.exe --set-version $WSL_DISTRO_NAME 2",),
        )  # fmt: skip
    if switched(probe, "kernel/unprivileged_userns_clone", "0") and not root:
        return Finding(
            "userns-sysctl", Level.MISSING,
            f"{no_en}this kernel refuses user namespaces to ordinary users (kernel.unprivileged_userns_clone=0).",
            f"{no_es}este núcleo niega los espacios de nombres a los usuarios (kernel.unprivileged_userns_clone=0).",
            sysctl_lines(probe, "kernel.unprivileged_userns_clone", "1"),
        )  # fmt: skip
    if switched(probe, "user/max_user_namespaces", "0"):
        return Finding(
            "userns-none", Level.MISSING,
            f"{no_en}this machine allows no user namespaces (user.max_user_namespaces=0).",
            f"{no_es}esta máquina no permite espacios de nombres de usuario (user.max_user_namespaces=0).",
            sysctl_lines(probe, "user.max_user_namespaces", "31000"),
        )  # fmt: skip
    if container := _container(probe):
        return _contained(container, trial)
    if switched(probe, "kernel/apparmor_restrict_unprivileged_userns", "1") and not root:
        return Finding(
            "userns-apparmor", Level.MISSING,
            f"{no_en}AppArmor restricts user namespaces to programs with a profile, and trenza has none here.",
            f"{no_es}AppArmor reserva los espacios de nombres a programas con perfil, y trenza no tiene aquí.",
            apparmor_profile_lines(probe),
        )  # fmt: skip
    if (probe.read("/sys/fs/selinux/enforce") or "").strip() == "1":
        return Finding(
            "userns-selinux", Level.MISSING,
            f"{no_en}'{trial.step}' was refused (errno {trial.errno}) and SELinux is enforcing. Allow what it denied:",
            f"{no_es}'{trial.step}' fue rechazado (errno {trial.errno}) y SELinux está activo. Permita lo que negó:",
            (
                "sudo ausearch -m AVC,USER_AVC -ts recent | audit2allow -M trenza",
                "sudo semodule -i trenza.pp",
            ),
        )  # fmt: skip
    return Finding(
        "userns", Level.MISSING,
        f"{no_en}the kernel refused '{trial.step}' (errno {trial.errno}). Was it built with user namespaces?",
        f"{no_es}el núcleo rechazó '{trial.step}' (errno {trial.errno}). ¿Se compiló con espacios de nombres?",
        ("zgrep -h CONFIG_USER_NS= /proc/config.gz /boot/config-$(uname -r)",),
    )  # fmt: skip


def switched(probe: Probe, sysctl: str, value: str) -> bool:
    return (probe.read(f"/proc/sys/{sysctl}") or "").strip() == value


def _container(probe: Probe) -> str | None:
    """The kind of container around us (docker, podman, lxc, another's name), None on a machine of its own."""
    if probe.read("/.dockerenv") is not None:
        return "docker"
    if probe.read("/run/.containerenv") is not None:
        return "podman"
    if name := (probe.read("/run/systemd/container") or "").strip():
        return name
    groups = probe.read("/proc/1/cgroup") or ""
    return next((name for name in ("docker", "kubepods", "lxc") if f"/{name}" in groups), None)


def _contained(container: str, trial: Trial) -> Finding:
    """Containers refuse in one of two ways: user namespaces by seccomp, or mounts because /proc and /sys are masked."""
    masked = trial.step in ("mount-proc", "mount-sys")
    unconfined = "--security-opt seccomp=unconfined --security-opt apparmor=unconfined"
    cure = {
        "docker": (
            "docker run --privileged IMAGE"
            if trial.step == "mount-sys"
            else f"docker run {unconfined} --security-opt systempaths=unconfined IMAGE"
        ),
        "podman": "podman run --security-opt unmask=ALL --security-opt label=disable IMAGE",
        "lxc": "lxc config set CONTAINER security.nesting=true && lxc restart CONTAINER",
        "kubepods": "kubectl explain pod.spec.containers.securityContext.procMount  # Unmasked, with hostUsers: false",
    }.get(container)
    why_en = "hides parts of /proc or /sys" if masked else "refuses user namespaces"
    why_es = "oculta partes de /proc o /sys" if masked else "niega los espacios de nombres de usuario"
    return Finding(
        "container-masked" if masked else "container-userns", Level.MISSING,
        f"No sandbox can be made: this container ({container}) {why_en} ('{trial.step}', errno {trial.errno}). "
        "Start it with more room:",
        f"No se puede crear un recinto: este contenedor ({container}) {why_es} ('{trial.step}', errno {trial.errno}). "
        "Arránquelo con más margen:",
        () if cure is None else (cure,),
    )  # fmt: skip
