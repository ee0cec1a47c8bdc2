"""Every finding of the doctor, on machines that exist only here."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from trenza.client.labfiles import shipped_labs
from trenza.errors import MachineError
from trenza.linux.doctor import Caller, Finding, Level, Trial, diagnose, missing_for, report, requirements
from trenza.linux.doctor.tables import FEATURES, NAMESPACE_KINDS, PROGRAMS
from trenza.model.names import Interface, Mac, NicName, NodeName
from trenza.model.state import File, Process, State, Vxlan
from trenza.plan.wanted import wanted_state
from trenza.spec import read

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\n'
FEDORA = 'NAME="Fedora Linux"\nID=fedora\n'
UBUNTU = "ID=ubuntu\nID_LIKE=debian\n"
EPERM = 1


@dataclass
class FakeProbe:
    """A good Debian machine of an ordinary user, changed by what a test gives it."""

    files: dict[str, str | None] = field(default_factory=dict)
    uid: int = 1000
    programs: frozenset[str] = frozenset(PROGRAMS)
    unprivileged: frozenset[str] = frozenset()
    limits: dict[str, int] = field(default_factory=dict)
    failed_step: str = ""
    features: dict[str, int] = field(default_factory=dict)
    python: tuple[int, int] = (3, 11)
    machine: str = "x86_64"
    runtime: str = "/run/user/1000"
    trials: int = 0

    def caller(self) -> Caller:
        return Caller(self.uid, "ana", "/home/ana/.venv/bin/trenza", self.runtime, "/home/ana/.local/state")

    def python_version(self) -> tuple[int, int]:
        return self.python

    def architecture(self) -> str:
        return self.machine

    def read(self, path: str) -> str | None:
        if path in self.files:
            return self.files[path]
        good = {
            "/etc/os-release": DEBIAN,
            "/etc/subuid": "ana:100000:65536\n",
            "/etc/subgid": "ana:100000:65536\n",
            "/proc/version": "Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org)\n",
            "/proc/modules": "veth 40960 0 - Live 0x0000000000000000\n",
            "/proc/self/cgroup": "0::/user.slice/app.scope\n",
            "/sys/fs/cgroup/cgroup.controllers": "cpu memory pids\n",
            "/sys/fs/cgroup/user.slice/app.scope/memory.max": "2147483648\n",
            "/proc/self/mountinfo": "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n",
            **{f"/proc/sys/user/max_{kind}_namespaces": "96365\n" for kind in NAMESPACE_KINDS},
        }
        return good.get(path)

    def program(self, name: str) -> str | None:
        return f"/usr/bin/{name}" if name in self.programs else None

    def privileged(self, path: str) -> bool:
        return path not in self.unprivileged

    def limit(self, name: str) -> int:
        return self.limits.get(name, 1 << 20)

    def trial(self) -> Trial:
        self.trials += 1
        if self.failed_step:
            return Trial(self.failed_step, EPERM)
        return Trial("", 0, {**dict.fromkeys(FEATURES, 0), **self.features})


def bad(probe: FakeProbe) -> dict[str, Finding]:
    return {finding.code: finding for finding in diagnose(probe) if finding.level is not Level.FINE}


def only(probe: FakeProbe) -> Finding:
    found = bad(probe)
    assert len(found) == 1, found
    return next(iter(found.values()))


def test_a_good_machine_has_only_fine_findings() -> None:
    findings = diagnose(FakeProbe())
    assert {finding.level for finding in findings} == {Level.FINE}
    assert {"sandbox", "subordinate-ids", "programs", "features"} <= {finding.code for finding in findings}


def test_ubuntus_apparmor_restriction_is_cured_by_a_profile_for_this_very_program() -> None:
    probe = FakeProbe(
        {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n", "/etc/os-release": UBUNTU},
        failed_step="map-ids",
    )
    finding = only(probe)
    assert (finding.code, finding.level) == ("userns-apparmor", Level.MISSING)
    assert 'profile trenza "/home/ana/.venv/bin/trenza" flags=(unconfined) {' in finding.cure[0]
    assert "userns," in finding.cure[0]
    assert finding.cure[0].endswith("| sudo tee /etc/apparmor.d/trenza")
    assert finding.cure[1] == "sudo apparmor_parser --replace /etc/apparmor.d/trenza"


def test_the_apparmor_restriction_is_no_finding_where_a_profile_already_lets_trenza_through() -> None:
    assert not bad(FakeProbe({"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}))


def test_user_namespaces_switched_off_by_sysctl() -> None:
    finding = only(FakeProbe({"/proc/sys/kernel/unprivileged_userns_clone": "0\n"}, failed_step="unshare-user"))
    assert finding.code == "userns-sysctl"
    assert "kernel.unprivileged_userns_clone = 1" in finding.cure[0]


def test_no_user_namespaces_at_all() -> None:
    finding = only(FakeProbe({"/proc/sys/user/max_user_namespaces": "0\n"}, failed_step="unshare-user"))
    assert (finding.code, finding.level) == ("userns-none", Level.MISSING)


@pytest.mark.parametrize("kind", NAMESPACE_KINDS)
@pytest.mark.parametrize(("count", "level"), [("8", Level.MISSING), ("200", Level.LIMITED)])
def test_too_few_namespaces_of_any_kind(kind: str, count: str, level: Level) -> None:
    finding = only(FakeProbe({f"/proc/sys/user/max_{kind}_namespaces": count}))
    assert (finding.code, finding.level) == (f"max-{kind}-namespaces", level)
    assert f"user.max_{kind}_namespaces = " in finding.cure[0]


@pytest.mark.parametrize(
    ("subuid", "wanted"),
    [
        ("", "100000-165535"),
        ("eva:100000:65536\n", "165536-231071"),
        ("eva:100000:65536\nleo:165536:65536\n", "231072-296607"),
        ("leo:165536:65536\n", "100000-165535"),
        ("eva:150000:10\n", "150010-215545"),
        ("ana:100000:1000\n", "101000-166535"),
        ("not a line\n# ana:1:65536\n", "100000-165535"),
    ],
)
def test_no_subordinate_ids_names_a_free_range(subuid: str, wanted: str) -> None:
    finding = only(FakeProbe({"/etc/subuid": subuid, "/etc/subgid": subuid}))
    assert (finding.code, finding.level) == ("subordinate-ids", Level.LIMITED)
    assert finding.cure == (f"sudo usermod --add-subuids {wanted} --add-subgids {wanted} ana",)


def test_only_the_kind_of_ids_that_lacks_is_added() -> None:
    finding = only(FakeProbe({"/etc/subgid": None}))
    assert finding.cure == ("sudo usermod --add-subgids 100000-165535 ana",)


def test_subordinate_ids_may_be_kept_by_uid_or_by_a_directory_service() -> None:
    assert not bad(FakeProbe({"/etc/subuid": "1000:100000:65536\n", "/etc/subgid": "1000:100000:65536\n"}))
    assert not bad(FakeProbe({"/etc/subuid": None, "/etc/subgid": None, "/etc/nsswitch.conf": "subid: sss\n"}))


def test_root_needs_no_subordinate_ids_and_no_sudo() -> None:
    assert not bad(FakeProbe({"/etc/subuid": None, "/etc/subgid": None}, uid=0))
    assert only(FakeProbe(uid=0, programs=frozenset(PROGRAMS) - {"brctl"})).cure == ("apt-get install bridge-utils",)


def test_newuidmap_without_its_privilege() -> None:
    finding = only(FakeProbe(unprivileged=frozenset({"/usr/bin/newuidmap"})))
    assert (finding.code, finding.level) == ("newuidmap", Level.MISSING)
    assert finding.cure == ("sudo chmod u+s /usr/bin/newuidmap",)


@pytest.mark.parametrize(
    ("files", "step", "code", "cure"),
    [
        ({"/.dockerenv": ""}, "unshare-user", "container-userns", "docker run --security-opt seccomp=unconfined"),
        ({"/.dockerenv": ""}, "mount-proc", "container-masked", "systempaths=unconfined"),
        ({"/.dockerenv": ""}, "mount-sys", "container-masked", "docker run --privileged"),
        ({"/run/.containerenv": ""}, "mount-proc", "container-masked", "podman run --security-opt unmask=ALL"),
        ({"/run/systemd/container": "lxc\n"}, "unshare-user", "container-userns", "security.nesting=true"),
        ({"/proc/1/cgroup": "0::/kubepods/burst\n"}, "mount-proc", "container-masked", "procMount"),
    ],
)
def test_containers_that_refuse_a_sandbox(files: dict[str, str | None], step: str, code: str, cure: str) -> None:
    finding = only(FakeProbe(files, failed_step=step))
    assert (finding.code, finding.level) == (code, Level.MISSING)
    assert cure in finding.cure[0]


def test_wsl1_is_an_error_and_wsl2_is_not() -> None:
    one = FakeProbe({"/proc/version": "Linux version 4.4.0-19041-Microsoft\n"}, failed_step="unshare-user")
    assert only(one).code == "wsl1"
    two = FakeProbe({"/proc/version": "Linux version 5.15.90.1-microsoft-standard-WSL2\n"})
    assert not bad(two)
    assert "wsl2" in {finding.code for finding in diagnose(two)}


def test_selinux_is_named_when_it_enforces_and_something_was_refused() -> None:
    finding = only(FakeProbe({"/sys/fs/selinux/enforce": "1"}, failed_step="unshare-user"))
    assert finding.code == "userns-selinux"
    assert not bad(FakeProbe({"/sys/fs/selinux/enforce": "1"}))


def test_a_refusal_without_a_known_cause_names_the_step() -> None:
    finding = only(FakeProbe(failed_step="unshare-rest"))
    assert finding.code == "userns"
    assert "'unshare-rest'" in finding.en
    assert "errno 1" in finding.en


@pytest.mark.parametrize(
    ("system", "command"),
    [
        (DEBIAN, "sudo apt-get install catatonit"),
        (UBUNTU, "sudo apt-get install catatonit"),
        (FEDORA, "sudo dnf install catatonit"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "sudo dnf install catatonit"),
        ("ID=arch\n", "# install, by their Debian names: catatonit"),
    ],
)
def test_a_missing_program_names_its_package(system: str, command: str) -> None:
    finding = only(FakeProbe({"/etc/os-release": system}, programs=frozenset(PROGRAMS) - {"catatonit"}))
    assert (finding.code, finding.level, finding.cure) == ("programs", Level.MISSING, (command,))


def test_missing_tools_only_limit_and_are_installed_by_one_command() -> None:
    finding = only(FakeProbe(programs=frozenset(PROGRAMS) - {"ip", "bridge", "brctl"}))
    assert (finding.code, finding.level) == ("tools", Level.LIMITED)
    assert finding.cure == ("sudo apt-get install iproute2 bridge-utils",)


def test_missing_kernel_features_name_modules_and_packages() -> None:
    lacking = {"netem": 2, "vxlan": 95}
    assert only(FakeProbe(features=lacking)).cure == ("sudo modprobe -a vxlan sch_netem",)
    ubuntu = only(FakeProbe({"/etc/os-release": UBUNTU}, features=lacking))
    assert "linux-modules-extra-$(uname -r)" in ubuntu.cure[1]
    fedora = only(FakeProbe({"/etc/os-release": FEDORA}, features=lacking))
    assert "kernel-modules-extra" in fedora.cure[1]
    built_in = only(FakeProbe({"/proc/modules": None}, features=lacking))
    assert "CONFIG_VXLAN CONFIG_NET_SCH_NETEM" in built_in.cure[0]


def test_a_feature_that_every_lab_needs_is_missing_not_limited() -> None:
    finding = only(FakeProbe(features={"bridge": 95}))
    assert (finding.code, finding.level) == ("features", Level.MISSING)


def test_old_python_and_foreign_architecture() -> None:
    assert only(FakeProbe(python=(3, 9))).code == "python"
    assert only(FakeProbe(machine="riscv64")).code == "architecture"


@pytest.mark.parametrize("name", ["nofile", "nproc"])
def test_low_limits(name: str) -> None:
    finding = only(FakeProbe(limits={name: 1024}))
    assert (finding.code, finding.level) == (f"limit-{name}", Level.LIMITED)
    assert f"ana - {name} 65536" in finding.cure[0]


def test_memory_without_a_limit_is_said_with_what_would_limit_it() -> None:
    finding = only(FakeProbe({"/sys/fs/cgroup/user.slice/app.scope/memory.max": "max\n"}))
    assert (finding.code, finding.level) == ("memory-limit", Level.LIMITED)
    assert finding.cure == ("systemd-run --user --scope -p MemoryMax=2G bash",)
    old = only(FakeProbe({"/sys/fs/cgroup/cgroup.controllers": None}))
    assert (old.code, old.cure) == ("memory-limit", ("# boot the kernel with systemd.unified_cgroup_hierarchy=1",))


def test_memory_limited_by_the_shells_own_cgroup_is_fine() -> None:
    assert any("2048 MiB" in finding.en for finding in diagnose(FakeProbe()))


def test_directories_on_network_file_systems() -> None:
    root = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
    home = "40 22 0:50 / /home rw,relatime shared:7 master:1 - nfs4 server:/home rw\n"
    state = only(FakeProbe({"/proc/self/mountinfo": root + home}))
    assert (state.code, state.level) == ("state-directory", Level.LIMITED)
    runtime = bad(FakeProbe({"/proc/self/mountinfo": root + home}, runtime="/home/ana/run"))["runtime-directory"]
    assert runtime.level is Level.MISSING
    assert runtime.cure == ("mkdir -m 700 -p /var/tmp/trenza-1000 && export XDG_RUNTIME_DIR=/var/tmp/trenza-1000",)
    local = "41 40 8:2 / /home/ana rw - ext4 /dev/sdb1 rw\n"
    assert not bad(FakeProbe({"/proc/self/mountinfo": root + home + local}))
    assert not bad(FakeProbe({"/proc/self/mountinfo": root + home.replace("/home", "/hom")}))


def test_missing_for_names_everything_at_once() -> None:
    probe = FakeProbe(programs=frozenset(), features={"vxlan": 95})
    required = frozenset({"program:catatonit", "program:haproxy", "kernel:vxlan", "kernel:macvlan"})
    with pytest.raises(MachineError) as caught:
        missing_for(required, probe)
    assert caught.value.exit_code == 3
    assert "Not installed: catatonit, haproxy." in caught.value.message
    assert "vxlan" in caught.value.message
    assert "macvlan" not in caught.value.message
    assert caught.value.hint is not None
    assert "sudo apt-get install catatonit haproxy" in caught.value.hint


def test_missing_for_says_why_a_feature_could_not_be_tried() -> None:
    with pytest.raises(MachineError, match="No sandbox can be made"):
        missing_for(frozenset({"kernel:vxlan"}), FakeProbe(failed_step="unshare-user"))


def test_missing_for_makes_no_trial_for_programs_alone() -> None:
    probe = FakeProbe()
    missing_for(frozenset({"program:catatonit"}), probe)
    assert probe.trials == 0


def test_requirements_of_a_state() -> None:
    node = NodeName("host1")
    state = State.of(
        [
            Vxlan(Interface(node, NicName("vx1")), Mac("02:00:00:00:00:01"), 42, local=ip_address("10.0.0.1")),
            Process(node, "web", ("haproxy", "-f", "/etc/haproxy.cfg")),
            Process(node, "mine", ("serve",)),
            Process(node, "path", ("/opt/serve",)),
            File(node, "/usr/local/bin/serve", "00"),
        ]
    )
    assert requirements(state) == {"program:catatonit", "program:haproxy", "kernel:vxlan"}


def test_the_balanced_web_lab_requires_its_daemons() -> None:
    lab = read(shipped_labs()["balanced-web"].read_bytes(), "lab.yaml").lab
    daemons = {"keepalived", "haproxy", "apache2", "libphp", "busybox"}
    assert requirements(wanted_state(lab, {})) == {
        "program:catatonit", "kernel:vxlan", *(f"program:{name}" for name in daemons),
    }  # fmt: skip


def test_every_finding_speaks_both_languages() -> None:
    findings = [
        *diagnose(FakeProbe()),
        *diagnose(FakeProbe(programs=frozenset(), features={"vxlan": 95}, limits={"nofile": 1})),
        *diagnose(FakeProbe(failed_step="unshare-user")),
    ]
    for finding in findings:
        assert finding.en.endswith((".", ":", "?"))
        assert finding.es.endswith((".", ":", "?"))
        assert finding.sentence("es") != finding.sentence("en")
        assert finding.sentence("fr") == finding.en
    lines = list(report(findings, "es"))
    assert any(line.startswith("falta ") for line in lines)
    assert "            sudo apt-get install catatonit" in lines
