"""trenza: a laboratory of container networks.

A short YAML file becomes real hosts, containers, bridges, tunnels and daemons on one machine, as an ordinary user.
The layers, top to bottom (an arrow points down only; `lint-imports` checks it):

    cli | pytest_plugin · keeper | client · wire · engine · linux | memory · plan | theory · spec · model · errors
"""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`trenza.up` and what it returns, imported when first used."""
    if name in ("up", "RunningLab", "LabNode", "Completed", "CommandFailed"):
        from trenza.client import api

        return getattr(api, name)
    raise AttributeError(f"module 'trenza' has no attribute {name!r}")
