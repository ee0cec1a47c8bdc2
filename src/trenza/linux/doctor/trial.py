"""Tries in a throw-away sandbox what a lab needs of the kernel. A program of its own, run by `doctor.probe`.

It is executed, never imported, because it enters namespaces that it cannot leave and its caller may have threads. It
prints one JSON object: `{"step": …, "errno": …, "features": {NAME: ERRNO}}`, `step` being the first that failed ("" if
none did). Everything it makes dies with it.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from errno import EINVAL, ENOENT, EOPNOTSUPP, EPROTONOSUPPORT
from pathlib import Path

from trenza.linux.syscalls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    mount,
    unshare,
)

NLM_F_REQUEST_ACK, NLM_F_CREATE_EXCL = 0x1 | 0x4, 0x400 | 0x200
NLMSG_ERROR, RTM_NEWLINK, RTM_NEWQDISC = 2, 16, 36
IFLA_LINK, IFLA_LINKINFO, IFLA_INFO_KIND, IFLA_INFO_DATA = 5, 18, 1, 2
TC_H_ROOT, TCA_KIND, TCA_OPTIONS = 0xFFFFFFFF, 1, 2
NETLINK_NETFILTER, NFT_MSG_GETGEN = 12, 10 << 8 | 16


def attribute(kind: int, value: bytes) -> bytes:
    """A netlink attribute, padded to four bytes."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def answer(family: int, kind: int, flags: int, body: bytes) -> int:
    """Sends one netlink message and returns the errno that the kernel answers with (0: done)."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as door:
            door.settimeout(5)
            door.send(struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST_ACK | flags, 1, 0) + body)
            while True:
                reply = door.recv(65536)
                if struct.unpack_from("=H", reply, 4)[0] == NLMSG_ERROR:
                    return -int(struct.unpack_from("=i", reply, 16)[0])
    except OSError as error:
        return error.errno or EINVAL


def new_link(kind: str, data: bytes = b"", *, over: int = 0) -> int:
    info = attribute(IFLA_INFO_KIND, kind.encode()) + (attribute(IFLA_INFO_DATA, data) if data else b"")
    lower = attribute(IFLA_LINK, struct.pack("=I", over)) if over else b""
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + lower + attribute(IFLA_LINKINFO, info)
    return answer(socket.NETLINK_ROUTE, RTM_NEWLINK, NLM_F_CREATE_EXCL, body)


def new_qdisc(kind: str, options: bytes, ifindex: int) -> int:
    head = struct.pack("=BxxxiIII", 0, ifindex, 0x10000, TC_H_ROOT, 0)
    body = head + attribute(TCA_KIND, kind.encode() + b"\0") + attribute(TCA_OPTIONS, options)
    return answer(socket.NETLINK_ROUTE, RTM_NEWQDISC, NLM_F_CREATE_EXCL, body)


def links() -> dict[str, int]:
    """An errno for each kind of link and qdisc. What only misses an option is there: EOPNOTSUPP alone says absent."""
    found = {"veth": new_link("veth"), "bridge": new_link("bridge")}
    over = next((index for index, name in socket.if_nameindex() if name.startswith("veth")), 1)
    found["vxlan"] = new_link("vxlan", attribute(1, struct.pack("=I", 1)) + attribute(15, struct.pack("!H", 4789)))
    found["macvlan"] = new_link("macvlan", attribute(1, struct.pack("=I", 4)), over=over)
    found["ipvlan"] = new_link("ipvlan", over=over)
    found["vlan"] = new_link("vlan", attribute(1, struct.pack("=H", 2)), over=over)
    found["vrf"] = new_link("vrf", attribute(1, struct.pack("=I", 10)))
    for kind in ("dummy", "ifb", "bond", "wireguard", "gretap", "geneve"):
        error = new_link(kind)
        found[kind] = error if error == EOPNOTSUPP else 0
    found["netem"] = new_qdisc("netem", struct.pack("=6I", 0, 1000, 0, 0, 0, 0), over)
    tbf = new_qdisc("tbf", b"", over)
    found["tbf"] = tbf if tbf == ENOENT else 0
    return found


def sockets() -> dict[str, int]:
    found = {"nftables": answer(NETLINK_NETFILTER, NFT_MSG_GETGEN, 0, struct.pack("!BBH", 0, 0, 0))}
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
        found["packet"] = 0
    except OSError as error:
        found["packet"] = error.errno or EPROTONOSUPPORT
    return found


def overlay(below: str) -> int:
    for name in ("lower", "upper", "work", "merged"):
        Path(below, name).mkdir()
    try:
        options = f"lowerdir={below}/lower,upperdir={below}/upper,workdir={below}/work,userxattr"
        mount("overlay", f"{below}/merged", "overlay", MS_NOSUID | MS_NODEV, options)
    except OSError as error:
        return error.errno or EINVAL
    return 0


def trial() -> dict[str, object]:
    """Makes a sandbox step by step; the features are tried when all steps went well."""
    uid, gid = os.getuid(), os.getgid()
    step = "unshare-user"
    try:
        unshare(CLONE_NEWUSER)
        step = "map-ids"
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        step = "unshare-rest"
        unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP)
        step = "mount-tmpfs"
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV)
    except OSError as error:
        return {"step": step, "errno": error.errno, "features": {}}
    # The new pid namespace begins with the next child, and only inside it may its /proc be mounted.
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.write(writer, json.dumps(inside()).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    answered: dict[str, object] = json.loads(text) if text else {"step": "fork", "errno": EINVAL, "features": {}}
    return answered


def inside() -> dict[str, object]:
    step = "mount-proc"
    try:
        for name in ("proc", "sys", "pts", "overlay"):
            Path("/tmp", name).mkdir()
        mount("proc", "/tmp/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        step = "mount-sys"
        mount("sysfs", "/tmp/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        step = "mount-devpts"
        mount("devpts", "/tmp/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    except OSError as error:
        return {"step": step, "errno": error.errno, "features": {}}
    return {"step": "", "errno": 0, "features": {**links(), **sockets(), "overlay": overlay("/tmp/overlay")}}


if __name__ == "__main__":
    json.dump(trial(), sys.stdout)
