"""The kernels that the conformance suite holds to one behaviour. A new one is a `Contestant` in `CONTESTANTS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest
from forked import forked_kernel

from trenza.memory import MemoryKernel
from trenza.plan.kernel import Kernel


@dataclass(frozen=True)
class Contestant:
    """A kernel: `fresh` gives an empty one and takes everything away afterwards.

    `places` says whether its nodes hold files and processes; `examples` how many random labs a law is tried on.
    """

    name: str
    fresh: Callable[[], AbstractContextManager[Kernel]]
    places: bool = True
    examples: int = 200
    marks: tuple[pytest.MarkDecorator, ...] = ()


@contextmanager
def _memory() -> Iterator[Kernel]:
    yield MemoryKernel()


CONTESTANTS = [
    Contestant("memory", _memory),
    Contestant("linux", forked_kernel, places=False, examples=30, marks=(pytest.mark.kernel,)),
]
