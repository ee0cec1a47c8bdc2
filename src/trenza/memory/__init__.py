"""The kernel in memory: the `Kernel` protocol without Linux, for tests and for what only wants to be thought through.

`MemoryKernel` is the way in. What belongs here: what Linux accepts, refuses and takes along when configuration changes.
What does not: packets, anything learnt, time.
"""

from trenza.memory.kernel import MemoryKernel

__all__ = ["MemoryKernel"]
