"""Every look at the machine, and the looks that one lab needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from trenza.errors import MachineError
from trenza.linux.doctor.cures import family, install_line, sudo, sysctl_lines
from trenza.linux.doctor.findings import Caller, Finding, Level, Probe
from trenza.linux.doctor.sandbox import is_wsl1, sandbox_findings
from trenza.linux.doctor.tables import (
    ALL_PROGRAMS,
    ARCHITECTURES,
    FEATURES,
    NAMESPACE_KINDS,
    NETWORK_FILE_SYSTEMS,
    PROGRAMS,
)
from trenza.model.state import File, Macvlan, Node, NodeKind, Process, State, Vxlan
from trenza.services import apache

SUBORDINATE_IDS: Final = 65536
FEW_NAMESPACES, ENOUGH_NAMESPACES = 16, 1024
ENOUGH_DESCRIPTORS, ENOUGH_PROCESSES = 4096, 2048


def diagnose(probe: Probe) -> tuple[Finding, ...]:
    """Every finding, the fine ones included, in the order in which one would mend them."""
    looks = (
        _system, sandbox_findings, _namespace_limits, _subordinate_ids, _programs, _features, _resource_limits,
        _memory, _directories,
    )  # fmt: skip
    return tuple(finding for look in looks for finding in look(probe))


def report(findings: Iterable[Finding], language: str = "en") -> Iterator[str]:
    """Lines for a person: level, sentence, and the cure below it, indented."""
    words = {"missing": "falta", "limited": "limitado", "fine": "bien"} if language == "es" else {}
    for finding in findings:
        yield f"{words.get(finding.level, finding.level.value):8}  {finding.sentence(language)}"
        for line in finding.cure:
            yield f"{'':10}  {line}".rstrip()


def requirements(state: State) -> frozenset[str]:
    """What building a state takes of the machine beyond a sandbox, veths and bridges: `program:NAME`, `kernel:FEATURE`.

    Those three are left to fail by themselves: trying them would cost every `up` a trial. A service's program counts
    when it is found by name and the lab does not itself place a file of that name.
    """
    needed = {f"program:{name}" for name, program in PROGRAMS.items() if program.needed}
    placed = {(thing.node, thing.path.rsplit("/", 1)[-1]) for thing in state if isinstance(thing, File)}
    for thing in state:
        match thing:
            case Vxlan():
                needed.add("kernel:vxlan")
            case Macvlan():
                needed.add("kernel:macvlan")
            case Node(kind=NodeKind.UPLINK):
                needed |= {"program:slirp4netns", "program:nft"}
            case File(content=content) if content is not None and apache.PHP_CONFIG_PATH.encode() in content:
                needed.add("program:libphp")
            case Process(node=node, argv=(name, *_)) if "/" not in name and (node, name) not in placed:
                needed.add(f"program:{name}")
            case _:
                pass
    return frozenset(needed)


def missing_for(required: frozenset[str], probe: Probe) -> None:
    """Returns if the machine has what is required (`program:NAME`, `kernel:FEATURE`).

    Raises MachineError naming everything that is missing, with the cures, so that it is mended in one go. A kernel
    feature that could not be tried, because no sandbox can be made, raises with that reason.
    """
    programs = sorted(name.removeprefix("program:") for name in required if name.startswith("program:"))
    features = sorted(name.removeprefix("kernel:") for name in required if name.startswith("kernel:"))
    findings: list[Finding] = []
    if absent := [name for name in programs if probe.program(name) is None]:
        findings.append(_lacking_programs("programs", Level.MISSING, absent, probe))
    if features:
        findings += [finding for finding in sandbox_findings(probe) if finding.level is Level.MISSING]
        found = probe.trial().features
        if absent := [name for name in features if found.get(name, 0) != 0]:
            findings.append(_lacking_features("features", Level.MISSING, absent, probe))
    if findings:
        hint = "\n  ".join(line for finding in findings for line in finding.cure)
        raise MachineError("\n".join(finding.en for finding in findings), hint=hint or None)


# ---------------------------------------------------------------- the system
def _system(probe: Probe) -> Iterator[Finding]:
    major, minor = probe.python_version()
    if (major, minor) < (3, 11):
        yield Finding(
            "python", Level.MISSING,
            f"Python {major}.{minor} is too old: trenza needs 3.11 or newer.",
            f"Python {major}.{minor} es demasiado antiguo: trenza necesita 3.11 o posterior.",
            (install_line(probe, "python3.11", "python3.11"),),
        )  # fmt: skip
    if (machine := probe.architecture()) not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        yield Finding(
            "architecture", Level.MISSING,
            f"This machine is {machine}; trenza knows the system calls of {known}.",
            f"Esta máquina es {machine}; trenza conoce las llamadas al sistema de {known}.",
        )  # fmt: skip
    version = probe.read("/proc/version") or ""
    if "microsoft" in version.lower() and not is_wsl1(version):
        yield Finding(
            "wsl2", Level.FINE,
            "This is WSL 2: a real Linux kernel, built by Microsoft.",
            "Esto es WSL 2: un núcleo Linux de verdad, compilado por Microsoft.",
        )  # fmt: skip


def _namespace_limits(probe: Probe) -> Iterator[Finding]:
    """Every node takes a namespace of most kinds. No user namespace at all is said by `sandbox`."""
    for kind in NAMESPACE_KINDS:
        text = probe.read(f"/proc/sys/user/max_{kind}_namespaces")
        if text is None or not text.strip().isdigit() or int(text) >= ENOUGH_NAMESPACES:
            continue
        if kind == "user" and int(text) == 0:
            continue
        name = f"user.max_{kind}_namespaces"
        yield Finding(
            f"max-{kind}-namespaces", Level.MISSING if int(text) < FEW_NAMESPACES else Level.LIMITED,
            f"{name} is {int(text)}: a node takes a namespace of each kind, a large lab a thousand.",
            f"{name} es {int(text)}: cada nodo ocupa un espacio de nombres de cada tipo, un lab grande mil.",
            sysctl_lines(probe, name, "31000"),
        )  # fmt: skip


# ---------------------------------------------------------------- ids
def _subordinate_ids(probe: Probe) -> Iterator[Finding]:
    """Without a range, or a program to map it, labs run with one id; with one that cannot be mapped, not at all."""
    caller = probe.caller()
    if caller.uid == 0 or "subid:" in (probe.read("/etc/nsswitch.conf") or ""):
        return  # root maps what it likes; a directory service keeps the ranges where only the mapping programs look
    texts = {kind: probe.read(f"/etc/sub{kind}") or "" for kind in ("uid", "gid")}
    lacking = [kind for kind, text in texts.items() if not _has_range(text, caller)]
    if lacking:
        options = " ".join(f"--add-sub{kind}s {_free_range(texts[kind])}" for kind in lacking)
        yield Finding(
            "subordinate-ids", Level.LIMITED,
            f"{caller.name} has no {SUBORDINATE_IDS} subordinate ids: labs run with one user id, and daemons that "
            "change theirs (Apache, Postfix) only believe that they did.",
            f"{caller.name} no tiene {SUBORDINATE_IDS} ids subordinados: los labs usan un solo id de usuario, y los "
            "demonios que cambian el suyo (Apache, Postfix) solo creen haberlo hecho.",
            (f"{sudo(probe)}usermod {options} {caller.name}",),
        )  # fmt: skip
        return
    powerless = [
        path for name in ("newuidmap", "newgidmap") if (path := probe.program(name)) and not probe.privileged(path)
    ]
    if powerless:
        yield Finding(
            "newuidmap", Level.MISSING,
            f"{' and '.join(powerless)} can map no ids: neither setuid root nor with file capabilities.",
            f"{' y '.join(powerless)} no pueden asignar ids: ni son setuid de root ni tienen capacidades.",
            tuple(f"{sudo(probe)}chmod u+s {path}" for path in powerless),
        )  # fmt: skip
    elif all(probe.program(name) for name in ("newuidmap", "newgidmap")):
        yield Finding(
            "subordinate-ids", Level.FINE,
            f"{caller.name} has subordinate ids, and newuidmap can map them.",
            f"{caller.name} tiene ids subordinados, y newuidmap puede asignarlos.",
        )  # fmt: skip


def _ranges(text: str) -> Iterator[tuple[str, int, int]]:
    """(owner, first, count) of each well-formed line of /etc/subuid or /etc/subgid."""
    for line in text.splitlines():
        owner, *numbers = line.strip().split(":")
        if len(numbers) == 2 and all(number.isdigit() for number in numbers):
            yield owner, int(numbers[0]), int(numbers[1])


def _has_range(text: str, caller: Caller) -> bool:
    return any(
        owner in (caller.name, str(caller.uid)) and count >= SUBORDINATE_IDS for owner, _, count in _ranges(text)
    )


def _free_range(text: str) -> str:
    """The first range of 65536 ids from 100000 on that meets nobody's, as `FIRST-LAST`."""
    first = 100000
    for _, taken, count in sorted(_ranges(text), key=lambda entry: entry[1]):
        if taken < first + SUBORDINATE_IDS and first < taken + count:
            first = taken + count
    return f"{first}-{first + SUBORDINATE_IDS - 1}"


# ---------------------------------------------------------------- programs and kernel features
def _programs(probe: Probe) -> Iterator[Finding]:
    absent = [name for name in PROGRAMS if probe.program(name) is None]
    if needed := [name for name in absent if PROGRAMS[name].needed]:
        yield _lacking_programs("programs", Level.MISSING, needed, probe)
    if others := [name for name in absent if not PROGRAMS[name].needed]:
        yield _lacking_programs("tools", Level.LIMITED, others, probe)
    if not absent:
        yield Finding(
            "programs", Level.FINE,
            f"All {len(PROGRAMS)} programs are there.",
            f"Están los {len(PROGRAMS)} programas.",
        )  # fmt: skip


def _lacking_programs(code: str, level: Level, names: list[str], probe: Probe) -> Finding:
    known = [ALL_PROGRAMS[name] for name in names if name in ALL_PROGRAMS]
    debian = " ".join(dict.fromkeys(program.debian for program in known))
    fedora = " ".join(dict.fromkeys(program.fedora for program in known))
    words = ", ".join(names)
    return Finding(
        code, level,
        f"Not installed: {words}.",
        f"Sin instalar: {words}.",
        (install_line(probe, debian, fedora),) if known else (),
    )  # fmt: skip


def _features(probe: Probe) -> Iterator[Finding]:
    trial = probe.trial()
    if trial.step:
        return  # nothing could be tried, and `sandbox_findings` says why
    absent = [name for name in FEATURES if trial.features.get(name, 0) != 0]
    if needed := [name for name in absent if FEATURES[name].needed]:
        yield _lacking_features("features", Level.MISSING, needed, probe)
    if others := [name for name in absent if not FEATURES[name].needed]:
        yield _lacking_features("optional-features", Level.LIMITED, others, probe)
    if not absent:
        yield Finding(
            "features", Level.FINE,
            f"The kernel has all {len(FEATURES)} features.",
            f"El núcleo tiene las {len(FEATURES)} funciones.",
        )  # fmt: skip


def _lacking_features(code: str, level: Level, names: list[str], probe: Probe) -> Finding:
    modules = " ".join(FEATURES[name].module for name in names)
    lines = [f"{sudo(probe)}modprobe -a {modules}"]
    match family(probe):
        case "debian":
            if "ubuntu" in (probe.read("/etc/os-release") or "").lower():
                lines.append(f"{sudo(probe)}apt-get install linux-modules-extra-$(uname -r)  # if modprobe finds none")
        case "fedora":
            lines.append(f"{sudo(probe)}dnf install kernel-modules-extra  # if modprobe finds none")
        case _:
            pass
    if not (probe.read("/proc/modules") or "").strip():
        options = " ".join(f"CONFIG_{FEATURES[name].option}" for name in names)
        lines = [f"# this kernel loads no modules: it would have to be built with {options}"]
    return Finding(
        code, level,
        "The kernel lacks " + ", ".join(f"{name} ({FEATURES[name].en})" for name in names) + ".",
        "Al núcleo le faltan " + ", ".join(f"{name} ({FEATURES[name].es})" for name in names) + ".",
        tuple(lines),
    )  # fmt: skip


# ---------------------------------------------------------------- limits and places
def _resource_limits(probe: Probe) -> Iterator[Finding]:
    caller = probe.caller()
    for name, enough, en, es in (
        ("nofile", ENOUGH_DESCRIPTORS, "open files; a node takes a few", "ficheros abiertos; un nodo ocupa varios"),
        ("nproc", ENOUGH_PROCESSES, "processes; a node takes one and more", "procesos; un nodo ocupa uno o más"),
    ):
        if (limit := probe.limit(name)) < enough:
            yield Finding(
                f"limit-{name}", Level.LIMITED,
                f"{caller.name} may have only {limit} {en}. Raise it and log in again:",
                f"{caller.name} solo puede tener {limit} {es}. Auméntelo y vuelva a entrar:",
                (f"echo '{caller.name} - {name} 65536' | {sudo(probe)}tee -a /etc/security/limits.d/trenza.conf",),
            )  # fmt: skip


def _memory(probe: Probe) -> Iterator[Finding]:
    """What a lab's processes allocate counts in the cgroup of whoever typed `up`: trenza makes none of its own."""
    unified = "memory" in (probe.read("/sys/fs/cgroup/cgroup.controllers") or "").split()
    own = next((line[3:] for line in (probe.read("/proc/self/cgroup") or "").splitlines() if line[:3] == "0::"), "/")
    limit = (probe.read(f"/sys/fs/cgroup{own.rstrip('/')}/memory.max") or "").strip() if unified else ""
    if limit.isdigit():
        yield Finding(
            "memory-limit", Level.FINE,
            f"Labs begun here may take {int(limit) >> 20} MiB of memory.",
            f"Los labs iniciados aquí pueden ocupar {int(limit) >> 20} MiB de memoria.",
        )  # fmt: skip
        return
    yield Finding(
        "memory-limit", Level.LIMITED,
        "A lab's processes are limited in number and its files in size; the memory of its processes, and of the file"
        " systems that its nodes mount, is not.",
        "Los procesos de un lab están limitados en número y sus ficheros en tamaño; la memoria de sus procesos, y la de"
        " sistemas de ficheros que monten sus nodos, no.",
        ("systemd-run --user --scope -p MemoryMax=2G bash",)
        if unified
        else ("# boot the kernel with systemd.unified_cgroup_hierarchy=1",),
    )  # fmt: skip


def _directories(probe: Probe) -> Iterator[Finding]:
    caller = probe.caller()
    mounts = probe.read("/proc/self/mountinfo") or ""
    for code, level, directory, variable, en, es in (
        ("runtime-directory", Level.MISSING, caller.runtime_directory, "XDG_RUNTIME_DIR",
         "the locks that tell which lab runs do not work there", "los cerrojos de los labs no funcionan ahí"),
        ("state-directory", Level.LIMITED, caller.state_directory, "XDG_STATE_HOME",
         "journals there are slow, and may be lost", "los diarios ahí son lentos y pueden perderse"),
    ):  # fmt: skip
        kind = _file_system(mounts, directory)
        if kind in NETWORK_FILE_SYSTEMS:
            local = f"/var/tmp/trenza-{caller.uid}"
            yield Finding(
                code, level,
                f"{directory} lies on a network file system ({kind}): {en}.",
                f"{directory} está en un sistema de ficheros de red ({kind}): {es}.",
                (f"mkdir -m 700 -p {local} && export {variable}={local}",),
            )  # fmt: skip


def _file_system(mountinfo: str, path: str) -> str:
    """The type of the file system that holds a path (proc_pid_mountinfo(5): after ` - `), the deepest mount's."""
    best, found = -1, ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or not kind:
            continue
        point = fields[4].replace("\\040", " ").rstrip("/")
        if (path == point or path.startswith(point + "/")) and len(point) >= best:
            best, found = len(point), kind[0]
    return found
