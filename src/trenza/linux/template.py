"""The file systems of a sandbox: a template that all nodes share, and a node's own root over it. Standard library only.

A node's root is an overlay over a skeleton (etc, var, root…) with /usr of the machine bound read-only, so that the
machine's programs are there and nothing of its owner is. Private per node: /etc, /var, /root and /tmp (the overlay),
/run, /proc, /sys, and /dev/pts. An overlay of an overlay is as deep as the kernel goes, so a container takes the
skeleton as its lower layer, never its host's root.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from trenza.linux import beneath, syscalls
from trenza.linux.syscalls import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, bind, mount

COPIED_FROM_ETC: Final = (
    "nsswitch.conf", "services", "protocols", "ethertypes", "rpc", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
    "localtime", "profile", "bash.bashrc", "alternatives", "iproute2", "host.conf", "gai.conf", "inputrc",
    "debian_version", "os-release", "mime.types", "terminfo", "login.defs", "shells", "traceroute.conf",
    "manpath.config", "groff",
)  # fmt: skip
"""An allow-list. Not there: shadow, ssh, sudoers, resolv.conf, hosts, and the accounts of people."""

_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_DIRECTORIES: Final = (
    "usr", "proc", "sys", "run", "dev", "root", "home", "etc", "mnt", "opt/trenza/bin", "srv", "var/log", "var/lib",
    "var/cache", "var/spool", "etc/trenza", "etc/udhcpc", "var/lib/trenza/sysfs",
)  # fmt: skip

SKELETON: Final = "/skeleton"
DEVICES: Final = "/devices"
NODES: Final = "/nodes"
SECOND_SYSFS: Final = "var/lib/trenza/sysfs"
"""`ip netns exec` unmounts /sys and mounts a fresh one, which the kernel allows only while another sysfs is visible."""

PATH: Final = "/opt/trenza/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

BASHRC: Final = r"""# Read by `trenza sh`: the prompt, and a record of each command line with its status.
[ -n "$__trenza_record_on" ] && return
__trenza_record_on=1
[ -f /etc/bash.bashrc ] && . /etc/bash.bashrc
[ -f /root/.bashrc ] && . /root/.bashrc
PS1='\u@\h:\w\$ '
HISTCONTROL= HISTIGNORE= HISTFILE=
__trenza_last=$(HISTTIMEFORMAT= history 1)
__trenza_record() {
    local status=$? line
    line=$(HISTTIMEFORMAT= history 1)
    if [ "$line" != "$__trenza_last" ]; then
        __trenza_last=$line
        [ -n "$TRENZA_RECORD" ] && printf '\033]7133;%d;%s;%s\007' "$status" \
            "$(printf '%s' "$line" | sed '1s/^ *[0-9]*\** *//' | base64 -w 0)" "$SHLVL.$$"
    fi
    return "$status"
}
PROMPT_COMMAND=__trenza_record
__trenza_begin() {
    local line=$(HISTTIMEFORMAT= history 1)
    [ -n "$TRENZA_RECORD" ] && [ "$line" != "$__trenza_last" ] && printf '\033]7133;;%s;%s\007' \
        "$(printf '%s' "$line" | sed '1s/^ *[0-9]*\** *//' | base64 -w 0)" "$SHLVL.$$"
}
PS0='$(__trenza_begin)'
"""


WORKPLACE: Final = "/tmp"
"""Where a sandbox's root is mounted before it becomes the root: any directory that is there and open to everybody."""


Files = Mapping[str, tuple[str, int]]
"""Text and mode by path."""


def build_sandbox_root(*, size_bytes: int, nodes_uid: int, directories: Sequence[str], files: Files) -> None:
    """Mount the sandbox's root and make it the root of this process's mount namespace.

    It holds /usr read-only, the skeleton and the devices that nodes use, and a tmpfs of `size_bytes` for what nodes
    write. `nodes_uid` is the id, in this user namespace, that is root in the nodes. `directories` and `files` are put
    into the skeleton.
    """
    mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    root = WORKPLACE
    mount("trenza", root, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=755,size={size_bytes},nr_inodes=1m")
    for name in ("usr", "proc", "sys", "tmp", "run", "etc"):
        os.mkdir(f"{root}/{name}", 0o755)
    for name in (SKELETON, DEVICES, NODES):
        os.mkdir(root + name, 0o755)
        os.chown(root + name, nodes_uid, nodes_uid)
    bind("/usr", f"{root}/usr", MS_RDONLY | MS_NOSUID | MS_NODEV, recursive=True)
    _link_usr(root)
    # The skeleton belongs to the nodes' root; made under its id, it needs no pass of chown.
    os.setegid(nodes_uid)
    os.seteuid(nodes_uid)
    _fill_skeleton(root + SKELETON, directories, files)
    os.seteuid(0)
    os.setegid(0)
    _fill_devices(root + DEVICES, nodes_uid)
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("sysfs", f"{root}/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    syscalls.pivot_into(root)


def _link_usr(root: str) -> None:
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if os.path.isdir(f"/usr/{name}"):
            os.symlink(f"usr/{name}", f"{root}/{name}")


def _fill_skeleton(skeleton: str, directories: Sequence[str], files: Files) -> None:
    for name in (*_DIRECTORIES, *directories):
        os.makedirs(f"{skeleton}/{name}", exist_ok=True)
    for name in ("tmp", "var/tmp"):
        os.mkdir(f"{skeleton}/{name}")
        os.chmod(f"{skeleton}/{name}", 0o1777)
    os.chmod(f"{skeleton}/root", 0o700)
    _link_usr(skeleton)
    os.symlink("../run", f"{skeleton}/var/run")
    os.symlink("../run/lock", f"{skeleton}/var/lock")
    for name in COPIED_FROM_ETC:
        source = f"/etc/{name}"
        try:
            if os.path.isdir(source):
                shutil.copytree(source, f"{skeleton}/etc/{name}", symlinks=True, ignore_dangling_symlinks=True)
            elif os.path.exists(source):
                shutil.copyfile(os.path.realpath(source), f"{skeleton}/etc/{name}")
        except (PermissionError, shutil.Error):
            continue  # not for everybody's eyes on this machine: then not for a lab's either
    for name, separator_field in (("passwd", 2), ("group", 2)):
        lines = Path(f"/etc/{name}").read_text(errors="replace").splitlines()
        kept = [line for line in lines if _is_system_account(line.split(":"), separator_field)]
        Path(f"{skeleton}/etc/{name}").write_text("\n".join(kept) + "\n")
    Path(f"{skeleton}/etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
    Path(f"{skeleton}/etc/resolv.conf").write_text("")
    Path(f"{skeleton}/etc/trenza/bashrc").write_text(BASHRC)
    # Shells within a recorded one (`ip netns exec NAME bash`, `trenza sh` in a host) are recorded too.
    Path(f"{skeleton}/root/.bashrc").write_text('[ -n "$TRENZA_RECORD" ] && . /etc/trenza/bashrc\n')
    for name, (text, mode) in files.items():
        path = Path(f"{skeleton}{name}")
        path.write_text(text)
        path.chmod(mode)


def _is_system_account(fields: list[str], id_field: int) -> bool:
    try:
        number = int(fields[id_field])
    except (IndexError, ValueError):
        return False
    return number < 1000 or number == 65534


def _fill_devices(devices: str, nodes_uid: int) -> None:
    """A /dev that all nodes show; each mounts its own devpts into it. Nobody writes here, so it is bound read-only."""
    mount("dev", devices, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k")
    for name in _DEVICES:
        _bind_device(f"/dev/{name}", f"{devices}/{name}")
    os.mkdir(f"{devices}/pts")
    if os.path.exists("/dev/net/tun"):
        os.mkdir(f"{devices}/net")
        _bind_device("/dev/net/tun", f"{devices}/net/tun")
    for name, target in (
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("shm", "/run/shm"),
        ("log", "/run/log.socket"),
        ("termination-log", "/run/termination-log"),  # where a pod's container leaves its last words
    ):
        os.symlink(target, f"{devices}/{name}")
    os.chown(devices, nodes_uid, nodes_uid)


def _bind_device(source: str, target: str) -> None:
    os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
    bind(source, target)


Mounts = Sequence[tuple[int, str, bool]]
"""Detached mounts (`syscalls.open_tree`), the path at which a node shows each, and whether it may only be read."""


def build_node_root(directory: str, *, hostname: str, mounts: Mounts = ()) -> None:
    """Make the root of a node and enter it. Called in the node's fresh namespaces, as the nodes' root.

    `directory` (below `NODES`) keeps what the node wrote; it outlives a stop and a start.
    """
    for name in ("upper", "work", "root"):
        os.makedirs(f"{directory}/{name}", exist_ok=True)
    # Written below the overlay, before it is one: through it, the whole of /etc would be copied up first.
    os.makedirs(f"{directory}/upper/etc", exist_ok=True)
    with open(f"{directory}/upper/etc/hostname", "w") as file:
        file.write(f"{hostname}\n")
    root = f"{directory}/root"
    overlay = f"lowerdir={SKELETON},upperdir={directory}/upper,workdir={directory}/work,userxattr"
    mount("overlay", root, "overlay", MS_NOSUID | MS_NODEV, overlay)
    bind("/usr", f"{root}/usr", recursive=True)
    bind(DEVICES, f"{root}/dev", MS_RDONLY | MS_NOSUID | MS_NOEXEC, recursive=True)
    mount("devpts", f"{root}/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for place in ("sys", SECOND_SYSFS):
        mount("sysfs", f"{root}/{place}", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("run", f"{root}/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64m")
    for name in ("lock", "shm"):
        os.mkdir(f"{root}/run/{name}")
        os.chmod(f"{root}/run/{name}", 0o1777)
    if mounts:
        _attach(root, mounts)
    syscalls.pivot_into(root)


def _attach(root: str, mounts: Mounts) -> None:
    """Attach mounts below `root`, whose symbolic links are followed as its own processes will follow them."""
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for tree, path, read_only in mounts:
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            beneath.make_directories(descriptor, path)
        else:
            beneath.make_directories(descriptor, os.path.dirname(path))
            os.close(beneath.open_in_root(descriptor, path, os.O_RDONLY | os.O_CREAT | os.O_NONBLOCK, 0o644))
        if read_only:
            syscalls.make_tree_read_only(tree)
        target = beneath.open_in_root(descriptor, path, os.O_PATH)
        syscalls.move_mount(tree, target)
        os.close(target)
        os.close(tree)
    os.close(descriptor)
