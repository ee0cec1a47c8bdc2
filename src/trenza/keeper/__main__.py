"""`python -m trenza.keeper SETTINGS`: executed by a client inside the sandbox."""

from __future__ import annotations

import asyncio
import json
import resource
import sys

from trenza.keeper.keeper import Settings, serve

if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(serve(Settings(**json.loads(sys.argv[1]))))
