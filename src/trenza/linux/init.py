"""The sandbox's pid 1: holds the lab's lock and the lease, and reaps. Standard library only.

Executed by `trenza.linux.sandbox` as a fresh, small Python in its own user, pid, mount, network, uts, ipc and cgroup
namespaces. It builds the template root and enters it, forks the spawner (`trenza.linux.spawner`) into a user namespace
of the nodes' own, and from then on only waits: for the lease to be committed or lost, and for children to reap. When
it ends, the kernel ends everything in the sandbox.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import os
import resource
import select
import signal
import socket
import sys

from trenza.linux import confine, syscalls, template
from trenza.linux.spawner import Spawner
from trenza.linux.syscalls import CLONE_NEWUSER


def start_spawner(ready: int, *, single_id: bool) -> int:
    """Fork the spawner into a user namespace below the sandbox's, confined; its pid.

    There, root is the sandbox's id 1, a subordinate id of the caller's and never the caller's own (unless only one id
    is mapped). It writes to `ready` when it serves.
    """
    made_read, made_write = os.pipe()
    mapped_read, mapped_write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(mapped_write)
            syscalls.unshare(CLONE_NEWUSER)
            os.write(made_write, b"1")
            if os.read(mapped_read, 1) != b"1":
                os._exit(1)
            os.close(made_write)
            os.close(mapped_read)
            _become_root(single_id=single_id)
            confine.confine(pretend_identity=single_id)
            with open("/proc/self/comm", "w") as file:
                file.write("trenza-spawner")
            gc.collect()
            gc.freeze()  # what is here now stays for ever: collections in forked children must not copy its pages
            Spawner(single_id=single_id).serve(ready)
        finally:
            os._exit(1)
    os.close(made_write)
    os.close(mapped_read)
    if os.read(made_read, 1) != b"1":
        raise OSError(errno.EPERM, "cannot make the nodes' user namespace")
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{child}/{name}", "w") as file:
            file.write("0 0 1" if single_id else "0 1 65536")
    os.write(mapped_write, b"1")
    os.close(mapped_write)
    os.close(made_read)
    return child


def _become_root(*, single_id: bool) -> None:
    """Root of the nodes' user namespace; a changed uid makes a process undumpable, which hides its own /proc."""
    if not single_id:
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)


def wait(lease: int, spawner: int) -> None:
    """Reap until the lease is lost before it was committed, or the spawner ends: then return, and all ends with us."""
    wakeup, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    for descriptor in (wakeup, lease):
        poll.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == wakeup:
                os.read(wakeup, 4096)
            elif os.read(lease, 1) == b"c":
                poll.unregister(lease)
            else:
                return  # end of file: the command that was to commit has ended
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == spawner:
                return
            if not pid:
                break


def main() -> None:
    """`init SETTINGS`: JSON with lock, lease, ready, skeleton (descriptors), single_id, size_bytes."""
    settings = json.loads(sys.argv[1])
    try:
        fcntl.lockf(settings["lock"], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os._exit(75)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name, text in (("oom_score_adj", "900"), ("comm", "trenza-init")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    single_id = settings["single_id"]
    nodes_uid = 0 if single_id else 1
    with open(settings["skeleton"]) as file:
        skeleton = json.load(file)
    template.build_sandbox_root(size_bytes=settings["size_bytes"], nodes_uid=nodes_uid, **skeleton)
    socket.sethostname("trenza")
    for name in ("lock", "lease", "ready"):
        os.set_inheritable(settings[name], False)
    spawner = start_spawner(settings["ready"], single_id=single_id)
    os.close(settings["ready"])
    wait(settings["lease"], spawner)
    os._exit(1)


if __name__ == "__main__":
    main()
