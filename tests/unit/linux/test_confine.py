"""The seccomp program, run by a small interpreter of classic BPF: what it lets through and what it refuses."""

from __future__ import annotations

import errno
import struct

import pytest

from trenza.linux.confine import filter_program

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
AFNOSUPPORT = ERRNO | errno.EAFNOSUPPORT
EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS


def verdict(program: bytes, number: int, audit: int, arguments: tuple[int, ...] = ()) -> int:
    """Run the filter on struct seccomp_data."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<IIQ6Q", number, audit, 0, *padded)
    instructions = list(struct.iter_unpack("HBBI", program))
    accumulator = position = 0
    while True:
        code, true, false, value = instructions[position]
        position += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("<I", data, value)[0]
            case 0x54:
                accumulator &= value
            case 0x15:
                position += true if accumulator == value else false
            case 0x35:
                position += true if accumulator >= value else false
            case 0x06:
                return value
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")


@pytest.mark.parametrize(
    ("machine", "number", "arguments", "expected"),
    [
        ("x86_64", 0, (), ALLOW),  # read
        ("x86_64", 165, (), ALLOW),  # mount: `ip netns exec` needs it
        ("x86_64", 272, (), ALLOW),  # unshare
        ("x86_64", 308, (), ALLOW),  # setns
        ("x86_64", 321, (), EPERM),  # bpf
        ("x86_64", 425, (), EPERM),  # io_uring_setup
        ("x86_64", 250, (), EPERM),  # keyctl
        ("x86_64", 298, (), EPERM),  # perf_event_open
        ("x86_64", 323, (), EPERM),  # userfaultfd
        ("x86_64", 175, (), EPERM),  # init_module
        ("x86_64", 246, (), EPERM),  # kexec_load
        ("x86_64", 133, (0, 0o020666), EPERM),  # mknod of a character device
        ("x86_64", 133, (0, 0o060666), EPERM),  # of a block device
        ("x86_64", 133, (0, 0o010666), ALLOW),  # of a fifo
        ("x86_64", 259, (0, 0, 0o020666), EPERM),  # mknodat
        ("x86_64", 16, (0, 0x5412), EPERM),  # ioctl TIOCSTI
        ("x86_64", 16, (0, 0xFFFFFFFF00005412), EPERM),  # with rubbish in the half that the kernel ignores
        ("x86_64", 16, (0, 0x5413), ALLOW),  # TIOCGWINSZ
        ("x86_64", 0x40000000 | 321, (), ENOSYS),  # the x32 convention
        *[("x86_64", 41, (family,), ALLOW) for family in (1, 2, 10, 16, 17)],  # socket: unix, inet, netlink, packet
        *[("x86_64", 41, (family,), AFNOSUPPORT) for family in (0, 3, 38, 40, 44)],  # AF_ALG, AF_VSOCK, AF_XDP
        ("aarch64", 198, (40,), AFNOSUPPORT),
        ("aarch64", 280, (), EPERM),  # bpf
        ("aarch64", 33, (0, 0, 0o020666), EPERM),  # mknodat
        ("aarch64", 29, (0, 0x5412), EPERM),
        ("aarch64", 97, (), ALLOW),  # unshare
    ],
)
def test_verdicts(machine: str, number: int, arguments: tuple[int, ...], expected: int) -> None:
    assert verdict(filter_program(machine), number, AUDIT[machine], arguments) == expected


def test_another_architecture_is_refused() -> None:
    assert verdict(filter_program("x86_64"), 1, 0x40000003) == ENOSYS  # i386


@pytest.mark.parametrize(("machine", "setuid", "fchownat"), [("x86_64", 105, 260), ("aarch64", 146, 54)])
def test_with_one_id_changing_ids_seems_to_work(machine: str, setuid: int, fchownat: int) -> None:
    pretending = filter_program(machine, pretend_identity=True)
    for number in (setuid, fchownat):
        assert verdict(pretending, number, AUDIT[machine]) == ERRNO
        assert verdict(filter_program(machine), number, AUDIT[machine]) == ALLOW
