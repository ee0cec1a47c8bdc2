"""What a process of a lab may do: capabilities, no_new_privs and a seccomp filter. Standard library only.

The wall is the user namespace. Inside it a node's root mounts, enters namespaces and rules its network, because the
lab sheets need that; what is refused here is what has been the way out of user namespaces before (bpf, io_uring,
keys, perf, userfaultfd), what makes no sense in a lab (modules, kexec, devices), and typing into somebody else's
terminal (TIOCSTI). setns inherits neither of these, so every entry into a node applies them again.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from typing import Final

from trenza.linux import syscalls

KEPT_CAPABILITIES: Final = {
    0: "CHOWN", 1: "DAC_OVERRIDE", 2: "DAC_READ_SEARCH", 3: "FOWNER", 4: "FSETID", 5: "KILL", 6: "SETGID", 7: "SETUID",
    8: "SETPCAP", 10: "NET_BIND_SERVICE", 11: "NET_BROADCAST", 12: "NET_ADMIN", 13: "NET_RAW", 14: "IPC_LOCK",
    18: "SYS_CHROOT", 19: "SYS_PTRACE", 21: "SYS_ADMIN", 23: "SYS_NICE", 29: "AUDIT_WRITE", 31: "SETFCAP",
}  # fmt: skip
"""include/uapi/linux/capability.h. SYS_ADMIN is over the lab's own user namespace only: `ip netns exec` needs it."""

_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_REFUSED: Final = {
    "x86_64": {
        "bpf": 321, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "add_key": 248,
        "request_key": 249, "keyctl": 250, "perf_event_open": 298, "init_module": 175, "finit_module": 313,
        "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320, "userfaultfd": 323,
    },
    "aarch64": {
        "bpf": 280, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "add_key": 217,
        "request_key": 218, "keyctl": 219, "perf_event_open": 241, "init_module": 105, "finit_module": 273,
        "delete_module": 106, "kexec_load": 104, "kexec_file_load": 294, "userfaultfd": 282,
    },
}  # fmt: skip
_MKNOD: Final = {"x86_64": {133: 1, 259: 2}, "aarch64": {33: 2}}
"""mknod and mknodat: system call number to the index of the argument that holds the mode."""

_SOCKET: Final = {"x86_64": 41, "aarch64": 198}
_FAMILIES: Final = (1, 2, 10, 16, 17)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET. Others know no network namespace (AF_VSOCK reaches the machine's

own) or are no part of a lab (AF_ALG, AF_XDP).
"""

_IOCTL: Final = {"x86_64": 16, "aarch64": 29}
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C

_IDENTITY: Final = {
    "x86_64": (105, 106, 113, 114, 116, 117, 119, 122, 123, 92, 93, 94, 260),
    "aarch64": (144, 145, 146, 143, 159, 147, 149, 151, 152, 55, 54),
}
"""setuid, setgid, setreuid, setregid, setgroups, setresuid, setresgid, setfsuid, setfsgid and the chown family."""

_LOAD, _EQUAL, _GREATER_OR_EQUAL, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_S_IFMT, _S_IFCHR, _S_IFBLK = 0o170000, 0o020000, 0o060000


def _instruction(code: int, value: int, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("HBBI", code, true, false, value)


def _argument(index: int) -> int:
    """Offset of the low half of an argument in struct seccomp_data (include/uapi/linux/seccomp.h); little endian."""
    return 16 + 8 * index


def filter_program(machine: str, *, pretend_identity: bool = False) -> bytes:
    """The seccomp program for a machine (`x86_64` or `aarch64`) as struct sock_filter entries.

    With `pretend_identity`, changing ids or owners succeeds and does nothing: what daemons need where only one id is
    mapped. Calls of another architecture's convention get ENOSYS.
    """
    refuse = _instruction(_RETURN, _ERRNO | errno.EPERM)
    program = [
        _instruction(_LOAD, 4),
        _instruction(_EQUAL, _ARCHITECTURES[machine], true=1),
        _instruction(_RETURN, _ERRNO | errno.ENOSYS),
        _instruction(_LOAD, 0),
    ]
    if machine == "x86_64":  # the x32 convention: the same architecture word, other numbers
        program += [
            _instruction(_GREATER_OR_EQUAL, 0x40000000, false=1),
            _instruction(_RETURN, _ERRNO | errno.ENOSYS),
        ]
    for number in sorted(_REFUSED[machine].values()):
        program += [_instruction(_EQUAL, number, false=1), refuse]
    if pretend_identity:
        for number in _IDENTITY[machine]:
            program += [_instruction(_EQUAL, number, false=1), _instruction(_RETURN, _ERRNO)]
    for number, index in _MKNOD[machine].items():
        program += [
            _instruction(_EQUAL, number, false=6),
            _instruction(_LOAD, _argument(index)),
            _instruction(_AND, _S_IFMT),
            _instruction(_EQUAL, _S_IFCHR, true=1),
            _instruction(_EQUAL, _S_IFBLK, false=1),
            refuse,
            _instruction(_LOAD, 0),
        ]
    program += [
        _instruction(_EQUAL, _SOCKET[machine], false=len(_FAMILIES) + 3),
        _instruction(_LOAD, _argument(0)),
        *(_instruction(_EQUAL, family, true=len(_FAMILIES) - number) for number, family in enumerate(_FAMILIES)),
        _instruction(_RETURN, _ERRNO | errno.EAFNOSUPPORT),
        _instruction(_RETURN, _ALLOW),
    ]
    program += [
        _instruction(_EQUAL, _IOCTL[machine], false=4),
        _instruction(_LOAD, _argument(1)),
        _instruction(_EQUAL, _TIOCSTI, true=1),
        _instruction(_EQUAL, _TIOCLINUX, false=1),
        refuse,
        _instruction(_RETURN, _ALLOW),
    ]
    return b"".join(program)


class _SockFprog(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def drop_capabilities() -> None:
    """Leave only `KEPT_CAPABILITIES`, in the bounding set too, and no way to gain more."""
    for capability in range(64):
        if capability not in KEPT_CAPABILITIES:
            try:
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
            except OSError as error:
                if error.errno == errno.EINVAL:  # past the last capability this kernel knows
                    break
                raise
    mask = sum(1 << capability for capability in KEPT_CAPABILITIES)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    syscalls.capset(struct.pack("Ii", 0x20080522, 0), struct.pack("6I", low, low, 0, high, high, 0))
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)


def confine(*, pretend_identity: bool = False) -> None:
    """Apply both to this process, for good. Call it last before exec, as the node's root."""
    drop_capabilities()
    program = filter_program(platform.machine(), pretend_identity=pretend_identity)
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = _SockFprog(len(program) // 8, ctypes.addressof(buffer))
    syscalls.prctl_pointer(syscalls.PR_SET_SECCOMP, 2, fprog)
