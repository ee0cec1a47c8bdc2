"""The real probe: this machine, looked at by reading files and by a throw-away sandbox in a process of its own."""

from __future__ import annotations

import json
import os
import platform
import pwd
import resource
import shutil
import stat
import subprocess
import sys
from functools import cache
from glob import glob
from pathlib import Path

from trenza.linux.doctor.findings import Caller, Trial
from trenza.linux.doctor.tables import MODULES

_TRIAL_DEADLINE_S = 20.0
_NO_LIMIT = 1 << 31
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class MachineProbe:
    """Implements `trenza.linux.doctor.Probe`."""

    def caller(self) -> Caller:
        uid = os.getuid()
        try:
            name, home = pwd.getpwuid(uid).pw_name, pwd.getpwuid(uid).pw_dir
        except KeyError:
            name, home = str(uid), "/"
        beside = Path(sys.executable).parent / "trenza"
        return Caller(
            uid=uid,
            name=name,
            program=os.path.realpath(beside if beside.exists() else sys.argv[0]),
            runtime_directory=os.environ.get("XDG_RUNTIME_DIR") or "/tmp",
            state_directory=os.environ.get("XDG_STATE_HOME") or f"{os.environ.get('HOME') or home}/.local/state",
        )

    def python_version(self) -> tuple[int, int]:
        return sys.version_info[0], sys.version_info[1]

    def architecture(self) -> str:
        return platform.machine()

    def read(self, path: str) -> str | None:
        try:
            return Path(path).read_text(errors="replace")
        except OSError:
            return None

    def program(self, name: str) -> str | None:
        modules = sorted(path for pattern in MODULES.get(name, ()) for path in glob(pattern))
        return modules[-1] if modules else shutil.which(name, path=_SYSTEM_PATH)

    def privileged(self, path: str) -> bool:
        try:
            status = os.stat(path)
            if status.st_mode & stat.S_ISUID and status.st_uid == 0:
                return True
            return bool(os.getxattr(path, "security.capability"))
        except OSError:
            return False

    def limit(self, name: str) -> int:
        _, hard = resource.getrlimit({"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}[name])
        return _NO_LIMIT if hard == resource.RLIM_INFINITY else hard

    def trial(self) -> Trial:
        return _trial()


@cache
def _trial() -> Trial:
    """One trial a process: what the machine can do does not change under a command."""
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "trenza.linux.doctor.trial"],
            capture_output=True, timeout=_TRIAL_DEADLINE_S, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        answer = json.loads(ran.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return Trial(step="run", errno=0)
    return Trial(step=answer["step"], errno=answer["errno"], features=answer["features"])
