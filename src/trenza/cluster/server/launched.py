"""The server as the keeper starts it, in its host, with the settings that `take_settings` takes.

JSON: `host_pid` is the host's init in the sandbox, `directory` where the server keeps everything and whose lock it
holds, `arguments` those of `python -m trenza.cluster.server`.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

from trenza.cluster.node.launch import Place, enter, hold, take_settings
from trenza.cluster.server.__main__ import main as serve
from trenza.model.cluster import SERVER

MODULE = "trenza.cluster.server.launched"
TITLE = SERVER.encode()


def main() -> None:
    settings = json.loads(take_settings())

    def run(place: Place) -> None:
        os.close(place.sandbox_netns)
        try:
            hold(Path(settings["directory"]))
            status = serve(list(map(str, settings["arguments"])))
        except BaseException:  # a forked child: its log is all that is left to say it to
            traceback.print_exc()
            status = 1
        sys.stderr.flush()
        os._exit(status)

    enter(int(settings["host_pid"]), run, title=TITLE)


if __name__ == "__main__":
    main()
