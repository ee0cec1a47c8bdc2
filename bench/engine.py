"""How long does it take to build a network, and to take it away again?

From a plan to the moment when packets get through, of network namespaces alone (no processes, no files): trenza's
engine (LinuxKernel over BareNodes, the making of the plan included) beside

- floor: C that makes the very same namespaces, links, addresses and routes and knows nothing else
  (bench/contenders/floor.c);
- ip -batch: iproute2 as scripts use it, one `ip -batch` for namespaces and links and one for each node;
- Mininet, where Debian's package is installed (or its files are named by MININET=DIRECTORY).

A star is N hosts at one bridge, a line N routers with static routes to every network. Contenders take turns in one
run, each turn in a fresh process with user, network and mount namespaces of its own. Ready means answered: echo
requests every millisecond from the first node to the last, from the last to the first and from the middle to the
first. Gone means that the kernel has freed the namespaces: one more, let go after them, has vanished too.

Caveats: one machine, shared; what counts are the ratios. Python's own start is left out for trenza, that of `floor`,
`ip` and Mininet is in. Mininet's hosts are shells in mount namespaces too; it makes no routes here, so that it runs the
star only. `ip -batch` makes no settings of address families and leaves bridge-nf on.
"""

from __future__ import annotations

import itertools
import os
import platform
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from trenza.linux import netns, rtnetlink, syscalls
from trenza.linux.bare import BareNodes, enter_own_namespaces
from trenza.linux.kernel import LinuxKernel
from trenza.linux.netlink import NetlinkSocket
from trenza.linux.netns import Home
from trenza.model.names import Interface, NicName, NodeName, derived_mac
from trenza.model.state import (
    Address,
    Bridge,
    BridgePort,
    Loopback,
    Node,
    NodeKind,
    Route,
    State,
    Sysctl,
    Thing,
    VethEnd,
    veth,
)
from trenza.plan.diff import diff
from trenza.plan.operations import Remove
from trenza.plan.wanted import WATCHED_SYSCTLS

HERE = Path(__file__).parent
CASES = (("star", 100, 7), ("line", 100, 7), ("star", 1000, 7))
ANSWER_DEADLINE_S = 30.0
GONE_DEADLINE_S = 120.0
NETWORK = IPv4Address("10.0.0.0")
FORWARDING = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.ip_default_ttl=255")
GATEWAY = NETWORK + 0xFFFE

Built = Iterator[list[int]]
"""A contender: yields descriptors of the first, middle and last namespace when it thinks that it is done."""


# The network, as trenza's state


def node_things(name: NodeName, kind: NodeKind, forwarding: bool) -> list[Thing]:
    things: list[Thing] = [Node(name, kind, None, name), Loopback(Interface(name, NicName("lo")))]
    return things + [Sysctl(name, one, str(int(forwarding))) for one in WATCHED_SYSCTLS]


def end(node: NodeName, nic: str, port: BridgePort | None = None) -> VethEnd:
    return VethEnd(Interface(node, NicName(nic)), derived_mac("bench", node, nic), port=port)


def star_state(count: int) -> State:
    lan = NodeName("lan")
    things = node_things(lan, NodeKind.SWITCH, False)
    things.append(Bridge(Interface(lan, NicName("lan")), derived_mac("bench", "lan", "lan")))
    for number in range(count):
        name = NodeName(f"h{number}")
        things += node_things(name, NodeKind.HOST, False)
        things.append(veth(end(name, "eth0"), end(lan, f"{name}-eth0", BridgePort(NicName("lan")))))
        things.append(Address(Interface(name, NicName("eth0")), IPv4Interface((NETWORK + 1 + number, 16))))
        things.append(Route(name, IPv4Network("0.0.0.0/0"), GATEWAY, NicName("eth0")))
    return State.of(things)


def line_routes(number: int, count: int) -> Iterator[tuple[IPv4Network, IPv4Address, str]]:
    """The routes of one router: every network that is not its own, towards its side."""
    for other in range(count - 1):
        to = IPv4Network((NETWORK + 4 * other, 30))
        if other < number - 1:
            yield to, NETWORK + 4 * (number - 1) + 1, "left"
        elif other > number:
            yield to, NETWORK + 4 * number + 2, "right"


def line_state(count: int) -> State:
    things: list[Thing] = []
    for number in range(count):
        name = NodeName(f"r{number}")
        things += node_things(name, NodeKind.HOST, True)
        things.append(Sysctl(name, "net.ipv4.ip_default_ttl", "255"))  # 64 is not enough for a line of a hundred
        if number:
            before = NodeName(f"r{number - 1}")
            things.append(veth(end(before, "right"), end(name, "left")))
            base = NETWORK + 4 * (number - 1)
            things.append(Address(Interface(before, NicName("right")), IPv4Interface((base + 1, 30))))
            things.append(Address(Interface(name, NicName("left")), IPv4Interface((base + 2, 30))))
        things += [Route(name, to, via, NicName(dev)) for to, via, dev in line_routes(number, count)]
    return State.of(things)


def addresses(shape: str, count: int) -> tuple[str, str]:
    """Of the first node and of the last."""
    if shape == "star":
        return str(NETWORK + 1), str(NETWORK + count)
    return str(NETWORK + 1), str(NETWORK + 4 * (count - 2) + 2)


# Contenders


@contextmanager
def trenza(shape: str, count: int, state: State) -> Built:
    with BareNodes() as nodes:
        kernel = LinuxKernel(nodes)
        kernel.perform(diff(State(), state))
        letter = "h" if shape == "star" else "r"
        handles = nodes.alive()
        yield [os.dup(handles[NodeName(f"{letter}{number}")].netns) for number in (0, count // 2, count - 1)]
        kernel.perform(tuple(Remove(node) for node in state.nodes.values()))
        kernel.close()


@contextmanager
def program(argv: list[str], environment: dict[str, str], link: str) -> Built:
    """A program that prints "built" and three numbers, and ends with its standard input."""
    with subprocess.Popen(
        argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        words = process.stdout.readline().split()
        assert words and words[0] == "built", f"{argv[0]} failed"
        paths = [link.format(pid=process.pid, number=number) for number in words[1:]]
        yield [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in paths]
        process.stdin.close()
        process.wait()


@contextmanager
def floor(binary: str, shape: str, count: int) -> Built:
    with program([binary, shape, str(count)], dict(os.environ), "/proc/{pid}/fd/{number}") as built:
        yield built


@contextmanager
def mininet(directory: Path, count: int) -> Built:
    environment = {
        "PATH": f"{directory}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": f"{directory}/usr/lib/python3/dist-packages",
        "HOME": "/tmp",
    }
    argv = ["/usr/bin/python3", str(HERE / "contenders/mininet_star.py"), str(count)]
    with program(argv, environment, "/proc/{number}/ns/net") as built:
        yield built


def ip_batch(lines: list[str], netns_name: str | None = None) -> None:
    argv = ["ip", *([] if netns_name is None else ["-n", netns_name]), "-batch", "-"]
    subprocess.run(argv, input="\n".join(lines), text=True, check=True, capture_output=True)


@contextmanager
def iproute2(shape: str, count: int) -> Built:
    letter = "h" if shape == "star" else "r"
    names = [f"{letter}{number}" for number in range(count)]
    making = [f"netns add {name}" for name in (["lan"] if shape == "star" else []) + names]
    if shape == "star":
        ip_batch(making)
        ports = [
            f"link add {name}-eth0 numtxqueues 1 numrxqueues 1 up master lan type veth "
            f"peer name eth0 numtxqueues 1 numrxqueues 1 netns {name}"
            for name in names
        ]
        ip_batch(["link set lo up", "link add lan type bridge", *ports], "lan")
        for number, name in enumerate(names):
            own = ["link set lo up", "link set eth0 up", f"address add {NETWORK + 1 + number}/16 dev eth0"]
            ip_batch([*own, f"route add default via {GATEWAY}"], name)
        ip_batch(["link set lan up"], "lan")
    else:
        making += [
            f"link add right netns {one} type veth peer name left netns {other}"
            for one, other in itertools.pairwise(names)
        ]
        ip_batch(making)
        for number, name in enumerate(names):
            subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", *FORWARDING], check=True)
            own = ["link set lo up"]
            if number:
                own += ["link set left up", f"address add {NETWORK + 4 * (number - 1) + 2}/30 dev left"]
            if number < count - 1:
                own += ["link set right up", f"address add {NETWORK + 4 * number + 1}/30 dev right"]
            own += [f"route add {to} via {via} dev {dev}" for to, via, dev in line_routes(number, count)]
            ip_batch(own, name)
    yield [os.open(f"/run/netns/{names[at]}", os.O_RDONLY | os.O_CLOEXEC) for at in (0, count // 2, count - 1)]
    ip_batch([f"netns delete {name}" for name in (["lan"] if shape == "star" else []) + names])


# Readiness, and the end


def echo_socket(home: Home, descriptor: int) -> socket.socket:
    with home.inside(descriptor):
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
    sock.setblocking(False)
    return sock


def await_answers(home: Home, descriptors: list[int], first: str, last: str) -> None:
    """Returns when all three have been answered."""
    request = struct.pack("!BBHHH", 8, 0, 0xFFFF - 0x0800 - 78, 77, 1)
    waiting = {
        echo_socket(home, descriptor): to for descriptor, to in zip(descriptors, (last, first, first), strict=True)
    }
    deadline = time.monotonic() + ANSWER_DEADLINE_S
    while waiting:
        assert time.monotonic() < deadline, f"no answer from {set(waiting.values())}"
        for sock, to in list(waiting.items()):
            try:
                sock.sendto(request, (to, 0))
            except OSError:
                pass  # no route yet
        time.sleep(0.001)
        for sock, to in list(waiting.items()):
            try:
                while True:
                    answer, source = sock.recvfrom(256)
                    if source[0] == to and answer[20] == 0:
                        del waiting[sock]
                        sock.close()
                        break
            except OSError:
                pass


def await_freed(home: Home, sock: NetlinkSocket) -> None:
    """Returns when the kernel has freed every namespace that was let go so far.

    It frees them one batch after the other, so one more is made and let go, with a veth out of it that vanishes too.
    """
    last = home.make_netns()
    inner = NetlinkSocket(home, last)  # its namespace is let go as late as those of other sockets
    near = rtnetlink.veth_end("marker", derived_mac("bench", "", "marker"), 1500)
    far = rtnetlink.veth_end("marker-far", derived_mac("bench", "", "far"), 1500)
    refusals = sock.send([rtnetlink.new_veth(9_000_000, near, 9_000_001, far, peer_netns=last, up=False)])
    assert not refusals, refusals
    inner.close()
    os.close(last)
    deadline = time.monotonic() + GONE_DEADLINE_S
    while netns.find_index(sock.fileno(), "marker") is not None:
        assert time.monotonic() < deadline, "the namespaces are still there"
        time.sleep(0.001)


def turn(contender: Callable[[], object], shape: str, count: int) -> tuple[float, float]:
    """Seconds until built and answering, and until gone, in a process and namespaces of their own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            enter_own_namespaces()
            syscalls.unshare(syscalls.CLONE_NEWNS)
            syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
            syscalls.mount("tmpfs", "/run", "tmpfs")
            home = Home()
            here = os.open("/proc/self/ns/net", os.O_RDONLY)
            sock = NetlinkSocket(home, here)
            began = time.perf_counter()
            with contender() as descriptors:  # type: ignore[attr-defined]  # a context manager
                await_answers(home, descriptors, *addresses(shape, count))
                ready = time.perf_counter()
                for descriptor in descriptors:
                    os.close(descriptor)
                ending = time.perf_counter()
            await_freed(home, sock)
            gone = time.perf_counter()
            os.write(writer, struct.pack("dd", ready - began, gone - ending))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    assert len(answer) == 16, "a turn failed"
    built, ended = struct.unpack("dd", answer)
    return built, ended


def main() -> None:
    """Prints the heading and a table a case, in Markdown. Arguments: SHAPE COUNT TURNS, for one case only."""
    cases = [(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))] if len(sys.argv) == 4 else CASES
    directory = Path(os.environ.get("MININET", "/"))
    with_mininet = (directory / "usr/bin/mnexec").exists()
    with tempfile.TemporaryDirectory(prefix="trenza-", dir="/tmp") as temporary:
        binary = f"{temporary}/floor"
        compiler = shutil.which("cc") or shutil.which("gcc")
        assert compiler, "a C compiler makes the floor"
        subprocess.run([compiler, "-O2", "-o", binary, str(HERE / "contenders/floor.c")], check=True)
        Path(temporary).chmod(0o755)
        print(f"{__doc__}\nKernel {platform.release()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} now.")
        for shape, count, turns in cases:
            state = star_state(count) if shape == "star" else line_state(count)
            contenders: dict[str, Callable[[], object]] = {
                "floor (C)": lambda s=shape, n=count: floor(binary, s, n),  # type: ignore[misc]
                "trenza": lambda s=shape, n=count, w=state: trenza(s, n, w),  # type: ignore[misc]
                "ip -batch": lambda s=shape, n=count: iproute2(s, n),  # type: ignore[misc]
            }
            if with_mininet and shape == "star" and count <= 100:
                contenders["Mininet"] = lambda n=count: mininet(directory, n)  # type: ignore[misc]
            times: dict[str, list[tuple[float, float]]] = defaultdict(list)
            for _ in range(turns):
                for name, contender in contenders.items():
                    times[name].append(turn(contender, shape, count))
            report(f"{shape} of {count}", turns, times)


def report(title: str, turns: int, times: dict[str, list[tuple[float, float]]]) -> None:
    def median_ms(name: str, which: int) -> float:
        return statistics.median(one[which] for one in times[name]) * 1000

    print(f"\n## {title}, median of {turns}\n")
    print("| | built and answering, ms | × floor | gone, ms | × floor |\n|---|---:|---:|---:|---:|")
    for name in times:
        built, gone = median_ms(name, 0), median_ms(name, 1)
        built_ratio, gone_ratio = built / median_ms("floor (C)", 0), gone / median_ms("floor (C)", 1)
        print(f"| {name} | {built:.0f} | {built_ratio:.2f} | {gone:.0f} | {gone_ratio:.2f} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
