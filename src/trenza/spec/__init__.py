"""The lab file: from its text to a `Lab`, with every problem at once. Pure: no disk, clock or socket.

What belongs here: syntax, parameters, templates, copies, merging, names, lint, and the format's own description. What a
lab becomes in Linux is `trenza.plan`'s; what answers to its checks prove is `trenza.check`'s.

`format` declares the format once; `reading` is the way from bytes to a Lab, module by module.
"""

from __future__ import annotations

from trenza.spec.reading import Choices, Reading, read, read_check

__all__ = ["Choices", "Reading", "read", "read_check", "reference", "schema"]


def schema() -> dict[str, object]:
    """The JSON Schema of the lab file."""
    from trenza.spec.schema import lab_schema

    return lab_schema()


def reference() -> str:
    """The reference of the lab file, in Markdown."""
    from trenza.spec.reference import lab_reference

    return lab_reference()
