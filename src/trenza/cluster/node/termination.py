"""The last words of a container: what it wrote to its termination log, or the end of its output where it says so.

The limits are a kubelet's (pkg/kubelet/container/runtime.go).
"""

from __future__ import annotations

import os
from typing import Final

from trenza.cluster.api import Object
from trenza.cluster.node.containers import Containers
from trenza.cluster.node.volumes import Mount, pod_directory

DEFAULT_PATH: Final = "/dev/termination-log"
MAX_MESSAGE_BYTES: Final = 4096
MAX_LOG_BYTES: Final = 2048
MAX_LOG_LINES: Final = 80


def make_log(containers: Containers, pod: Object, container: Object) -> Mount:
    """An empty log, and where the container shows it. Raises OSError."""
    path = _path(pod, container)
    containers.write(path, b"", mode=0o666)
    return Mount(path, container.get("terminationMessagePath") or DEFAULT_PATH)


def message_of(containers: Containers, pod: Object, container: Object, output: str, exit_code: int) -> str:
    """What a container that has ended leaves behind; `output` is the file of its run's."""
    said = _tail(containers, _path(pod, container), MAX_MESSAGE_BYTES)
    if said or not exit_code or container.get("terminationMessagePolicy") != "FallbackToLogsOnError":
        return said
    return "".join(_tail(containers, output, MAX_LOG_BYTES).splitlines(keepends=True)[-MAX_LOG_LINES:])


def _path(pod: Object, container: Object) -> str:
    return f"{pod_directory(pod)}/containers/{container['name']}/termination-log"


def _tail(containers: Containers, path: str, size: int) -> str:
    descriptor = containers.open_log(path)
    if descriptor is None:
        return ""
    try:
        begin = max(0, os.fstat(descriptor).st_size - size)
        return os.pread(descriptor, size, begin).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
