#!/usr/bin/python3 -IS
"""The `trenza` inside a host: launch, start, stop, restart and rm the host's own containers; ls and info show them.

A copy of this file lies on every node's PATH. Standard library only; it speaks to the keeper through
/run/trenza.socket, which only hosts have.
"""

import json
import os
import socket
import struct
import sys

USAGE = """usage, inside a host, for its own containers:
  trenza ls | info NAME | launch NAME | start NAME | stop NAME | restart NAME | rm NAME
  trenza sh NAME | exec NAME COMMAND…"""


def ask(request: dict[str, object]) -> dict[str, list[dict[str, object]]]:
    """The keeper's answer, or exit with its error."""
    with socket.socket(socket.AF_UNIX) as door:
        try:
            door.connect("/run/trenza.socket")
        except OSError:
            sys.exit("trenza: only hosts can do this, while the lab's keeper runs")
        body = json.dumps(request).encode()
        door.sendall(struct.pack("!I", len(body)) + body)
        data = b""
        while True:
            chunk = door.recv(65536)
            if not chunk:
                break
            data += chunk
    (size,) = struct.unpack_from("!I", data)
    answer = json.loads(data[4 : 4 + size])
    if "error" in answer:
        error = answer["error"]
        print(f"trenza: {error['message']}", file=sys.stderr)
        if error.get("hint"):
            print(f"  {error['hint']}", file=sys.stderr)
        sys.exit(error.get("exit", 1))
    result: dict[str, list[dict[str, object]]] = answer["result"]
    return result


def show(containers: list[dict[str, object]]) -> None:
    """A table of containers."""
    print(f"{'NAME':<16} {'STATE':<8} PID")
    for one in containers:
        print(f"{one['name']!s:<16} {one['state']!s:<8} {one['pid'] or '-'}")


def pid_of(name: str) -> int:
    """The pid of a container's init as this host knows it, or exit."""
    for one in ask({"verb": "ls"})["containers"]:
        if one["name"] == name and one["pid"]:
            return int(str(one["pid"]))
    sys.exit(f"trenza: no container {name!r} runs here")


def enter(name: str, command: list[str]) -> None:
    """Become a command in a container; does not return."""
    namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
    os.execv("/usr/bin/nsenter", ["nsenter", "--target", str(pid_of(name)), *namespaces, "--", *command])


def main(words: list[str]) -> int:
    """Do what the words say; 0 or an exit status."""
    if words and words[0] in ("ls", "list", "ps") and len(words) == 1:
        show(ask({"verb": "ls"})["containers"])
        return 0
    if len(words) == 2 and words[0] == "info":
        found = [one for one in ask({"verb": "ls"})["containers"] if one["name"] == words[1]]
        if not found:
            sys.exit(f"trenza: no container {words[1]!r} here")
        print(f"Name: {found[0]['name']}\nState: {str(found[0]['state']).upper()}\nPID: {found[0]['pid'] or '-'}")
        return 0
    if len(words) == 2 and words[0] == "sh":
        enter(words[1], ["bash"])
    if len(words) > 2 and words[0] == "exec":
        enter(words[1], words[3:] if words[2] == "--" else words[2:])
    if len(words) == 2 and words[0] in ("launch", "start", "stop", "restart", "rm"):
        done = ask({"verb": words[0], "name": words[1]})
        for link in done.get("dangling") or ():
            print(f"{link} names nothing any more")
        if words[0] in ("launch", "start"):
            print(f"{words[1]} runs, its init has pid {pid_of(words[1])} here")
        return 0
    print(USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
