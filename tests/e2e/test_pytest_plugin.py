"""Labs as fixtures of somebody else's pytest, run as one runs it: what passes, what a failure tells, what stays."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Cli, until

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]

EXAMPLE = Path(__file__).parents[2] / "docs/examples/pytest"
PCAPNG = bytes.fromhex("0a0d0d0a")
DEADLINE_S = 120.0

WAITING = """
def test_waits(lab):
    lab.ping("desk", "web")
    print("READY", flush=True)
    lab.exec("desk", ["sleep", "600"])
"""


@dataclass
class Project:
    """A copy of the example, with tests of our own."""

    cli: Cli
    directory: Path

    def tests(self, text: str) -> None:
        """Ours, instead of the example's."""
        (self.directory / "test_offices.py").unlink(missing_ok=True)
        (self.directory / "test_ours.py").write_text("import pytest\n" + text)

    def pytest(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", *words], cwd=self.directory, env=self.cli.environment, text=True,
            capture_output=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip

    @contextmanager
    def waiting(self) -> Iterator[subprocess.Popen[str]]:
        """A pytest whose one test waits in its lab for whoever ends it."""
        self.tests(WAITING)
        argv = [sys.executable, "-m", "pytest", "-s"]
        with subprocess.Popen(
            argv, cwd=self.directory, env=self.cli.environment, text=True, stdout=subprocess.PIPE
        ) as process:
            try:
                assert process.stdout is not None
                while "READY" not in (line := process.stdout.readline()):
                    assert line, "pytest ended before its test was ready"
                assert len(self.labs()) == 1
                yield process
            finally:
                process.kill()

    def labs(self) -> list[str]:
        return [one["lab"] for one in self.cli.json("ls")["labs"]]


@pytest.fixture
def project(cli: Cli) -> Iterator[Project]:
    directory = cli.directory / "project"
    shutil.copytree(EXAMPLE, directory, ignore=shutil.ignore_patterns("__pycache__"))
    yield Project(cli, directory)
    left = Path(cli.environment["XDG_STATE_HOME"]) / "trenza"
    assert not left.exists() or not list(left.iterdir()), "a journal was left behind"


def test_the_example_passes_as_it_is(project: Project) -> None:
    done = project.pytest()
    assert "3 passed" in done.stdout, done.stdout + done.stderr
    assert not (project.directory / ".pytest_lab").exists(), "frames of tests that passed"


def test_a_failure_tells_what_is_wrong_first_and_what_happened(project: Project) -> None:
    project.tests("""
@pytest.mark.lab(capture="beta.wan0")
def test_the_router_forgets(lab):
    lab.exec("beta", ["ip", "link", "add", "odd", "type", "bridge"], check=True)
    lab.exec("beta", ["sysctl", "-w", "net.ipv4.ip_forward=0"], check=True)
    lab.ping("desk", "web")
""")
    done = project.pytest("--lab-artifacts", "frames")
    assert done.returncode == 1, done.stdout + done.stderr
    out = done.stdout
    assert "AssertionError: ping desk → web: beta does not forward (net.ipv4.ip_forward is 0)" in out
    assert ">       lab.ping(" in out, "the last line shown is the test's own"
    assert "src/trenza" not in out, "nor is any file of trenza's"
    assert ": journal --" in out
    assert "odd" in out.partition(": journal --")[2].partition(": what is wrong --")[0]
    assert "not as the lab file says: ~ beta: net.ipv4.ip_forward 0 → 1" in out
    assert "beta (host, running)" in out
    (frames,) = (project.directory / "frames").iterdir()
    assert f"{frames}: " in out
    assert frames.read_bytes().startswith(PCAPNG)
    assert b"\x08\x00\x45\x00" in frames.read_bytes(), "the echoes that beta did not forward"


def test_asking_breaking_and_measuring(project: Project) -> None:
    project.tests("""
from trenza.errors import TrenzaError

@pytest.fixture(scope="module")
def seen():
    return []

SHARED = pytest.mark.lab(scope="module")

@SHARED
def test_questions(lab, seen):
    seen.append(lab.name)
    assert lab.ping("desk", "web", count=3).answered == 3
    lab.ping_all("alpha", "beta", "desk", "web")
    assert lab.path("desk", "web", ["alpha", "beta", "web"])["arrived"]
    assert lab.http("desk", "http://web/", body="beta's").statuses == [200]
    lab.tcp("desk", "web", 80)
    lab.tcp("desk", "web", 81, open=False)
    lab.mtu("desk", "web", 1500)
    lab.route("desk", "web", via="10.1.0.1")
    lab.owner("10.1.0.1", "desk", "alpha")
    lab.arp("desk", "10.1.0.1", "alpha.office", during={"ping": {"from": "desk", "to": "web"}})
    lab.fdb("alpha.office", has=["desk.eth0"], during={"ping": {"from": "desk", "to": "web"}})
    lab.seen("wan", "icmp", {"ping": {"from": "desk", "to": "web"}}, src="alpha.wan0")
    lab.not_seen("wan", "arp", {"http": {"from": "desk", "to": "http://web/"}}, src="desk.eth0")
    lab.service("web", "busybox", port=80)
    lab.run("desk", ["cat", "/etc/hostname"], output="desk")
    assert lab.exec("web", ["cat"], input="said").stdout == "said"
    with pytest.raises(AssertionError, match="no ping desk → web"):
        lab.no_ping("desk", "web", within=0.5)
    with pytest.raises(AssertionError, match="alpha.wan0 has 192.0.2.1/30"):
        lab.no_ip("alpha.wan0")
    with pytest.raises(TrenzaError, match="did you mean desk"):
        lab.ping("deks", "web")
    lab.exec("beta", ["ip", "route", "del", "10.1.0.0/24"], check=True)  # and nobody puts it back here
    lab.fault("cut wan")

@SHARED
def test_a_shared_lab_is_mended_between_tests(lab, seen):
    seen.append(lab.name)
    lab.ping("desk", "web")

@pytest.mark.lab(scope="module", capture="desk")
@pytest.mark.fault("impair wan", loss="100%")
def test_a_marked_fault_is_in_effect(lab, seen):
    seen.append(lab.name)
    lab.no_ping("desk", "web")
    assert len(set(seen)) == 1, "one lab for all of the module's tests"

def test_faults_heal(lab, lab_up):
    with lab.fault("cut wan") as fault:
        assert fault.report["fault"] == "cut wan"
        lab.no_ping("desk", "web")
    lab.ping("desk", "web")
    assert lab.fault("cut wan", checks=[{"no_ping": {"from": "desk", "to": "web"}}]).passed
    with pytest.raises(AssertionError, match="fault cut wan"):
        lab.fault("cut wan", probe="ping desk -> web", at_most=0.2)
    report = lab.outage("kill web web", "ping desk -> web")
    assert report["settled"] and report["probes"][0]["outage_s"] == 0
    twin = lab_up("lab.yaml", set={"wan_mtu": 1400})
    twin.mtu("desk", "web", 1400)
    lab.mtu("desk", "web", 1500)

@pytest.mark.lab("bridged-lan")
def test_checkpoints(lab):
    assert lab.check()["passed"]
    lab.exec("host1", ["ip", "addr", "add", "10.9.9.9/24", "dev", "eth0"], check=True)
    with pytest.raises(AssertionError, match="bridged: no address at host1.eth0 .+: host1.eth0 has 10.9.9.9/24"):
        lab.checkpoint("bridged")

@pytest.mark.lab("bridged-lan", start=True)
def test_the_start_of_a_lab(lab):
    with pytest.raises(AssertionError, match="trenza launch host1 c1"):
        lab.checkpoint("bridged")
""")
    done = project.pytest("-p", "no:randomly")
    assert "6 passed" in done.stdout, done.stdout + done.stderr


def test_what_cannot_come_up_is_an_error_in_its_own_words(project: Project) -> None:
    project.tests("""
def test_service(lab): pass
@pytest.mark.fault("cut wam")
def test_fault(lab): pass
@pytest.mark.fault("cut wan")
def test_no_lab(): pass
@pytest.mark.lab(capture="nobody")
def test_place(lab): pass
""")
    lab_file = project.directory / "lab.yaml"
    lab_file.write_text(lab_file.read_text().replace("busybox, httpd, -f, -p", "busybox, httpd, -f, --none"))
    done = project.pytest("-k", "service or no_lab")
    assert "web: service web: " in done.stdout
    assert "the marker fault needs the fixture lab" in done.stdout
    shutil.copy(EXAMPLE / "lab.yaml", lab_file)
    done = project.pytest("-k", "fault or place")
    assert "did you mean wan?" in done.stdout
    assert "unknown node 'nobody'" in done.stdout
    assert "Traceback" not in done.stdout
    assert "errors in" in done.stdout


def test_tests_that_run_side_by_side_do_not_disturb_each_other(project: Project) -> None:
    project.tests("""
@pytest.mark.parametrize("number", range(6))
def test_own_network(lab, number):
    if number % 2:
        lab.fault("cut wan")
        lab.no_ping("desk", "web")
    else:
        lab.http("desk", "http://web/", served_by=["web"])
""")
    done = project.pytest("-n", "3")
    assert "6 passed" in done.stdout, done.stdout + done.stderr


def test_ctrl_c_leaves_nothing(project: Project) -> None:
    with project.waiting() as process:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=DEADLINE_S)
    assert "KeyboardInterrupt" in out
    assert project.labs() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_lab_ends_with_a_pytest_that_is_killed(project: Project, number: signal.Signals) -> None:
    with project.waiting() as process:
        process.send_signal(number)
        process.communicate(timeout=DEADLINE_S)
    until(lambda: project.labs() == [], what="the end of the lab")
    project.cli.ok("wipe", "--yes")  # nobody was left who could have put away its directories
