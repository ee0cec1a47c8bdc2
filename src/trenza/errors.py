"""Every error trenza raises on purpose, as one tree.

    TrenzaError                 a sentence for people, a code for programs, an exit code for shells
    ├── UsageError              what was typed cannot be meant (exit 2)
    ├── LabFileError            the lab file is wrong; carries every Problem at once (exit 2)
    ├── MachineError            this machine lacks something; names all of it and the cure (exit 3)
    ├── KernelError             an operation that the kernel refused (exit 1)
    ├── SandboxError            the sandbox could not be made, entered or kept (exit 1)
    └── KeeperError             the keeper answered with an error, or not at all (exit 1)

An error is translated where it crosses a border (`raise … from …`) and never swallowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a problem in a lab file is: error (cannot be built), warning (built, said once), note."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a lab file: where, what, and what to write instead.

    `line` and `column` count from 1; `excerpt` is the source line without its newline; `length` is how many
    characters from `column` the caret marks (at least 1).
    """

    severity: Severity
    code: str
    message: str
    file: str
    line: int
    column: int
    length: int = 1
    excerpt: str = ""
    hint: str | None = None

    def __str__(self) -> str:
        head = f"{self.file}:{self.line}:{self.column} {self.code} {self.message}"
        if not self.excerpt:
            return head if self.hint is None else f"{head}\n    {self.hint}"
        number = f"{self.line:>4}"
        marks = " " * (self.column - 1) + "^" * max(1, self.length)
        below = marks if self.hint is None else f"{marks} {self.hint}"
        return f"{head}\n{number} | {self.excerpt}\n{' ' * len(number)} | {below}"


class TrenzaError(Exception):
    """A failure with a sentence for a person and a stable `code` for a program."""

    exit_code = 1
    code = "failed"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  {self.hint}"


class UsageError(TrenzaError):
    """What was typed cannot be meant: unknown node, unknown lab, contradicting options."""

    exit_code = 2
    code = "usage"


class LabFileError(TrenzaError):
    """The lab file is wrong. `problems` holds all of them, errors and warnings, in file order."""

    exit_code = 2
    code = "lab-file"

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class MachineError(TrenzaError):
    """This machine lacks a program, a kernel feature or a permission; `message` names all of them and the cure."""

    exit_code = 3
    code = "machine"


class KernelError(TrenzaError):
    """The kernel refused an operation. `errno` is 0 when the refusal was not a system call's."""

    code = "kernel"

    def __init__(self, message: str, *, errno: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.errno = errno


class SandboxError(TrenzaError):
    """The sandbox could not be made, entered or kept."""

    code = "sandbox"


class KeeperError(TrenzaError):
    """The keeper answered with an error, or did not answer at all."""

    code = "keeper"
