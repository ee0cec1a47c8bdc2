"""`python -m trenza.keeper SETTINGS`: executed by a client inside the sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys

from trenza.keeper.keeper import Settings, serve

if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)  # what the keeper starts outlives it, and must not hold its ports
            except OSError:
                pass  # the directory's own, which was read
    asyncio.run(serve(Settings(**json.loads(sys.argv[1]))))
