"""The error tree: every failure that a user can cause or mend, with the exit code it leads to.

QuillreadError
    UsageError                 the command or call does not make sense
        ConfigError            a setting
        ModelError             a model
        MissingExtraError      an optional dependency
    InputError                 one input; others may be read
        ImageError             an image, PDF or address
        DataError              a data set, a PAGE or ALTO file
        OutputError            a result that cannot be written
    TrainingError              a training that cannot go on
    WorkerError                a worker process that was lost, and its job with it
        WorkerDiedError        it crashed
        WorkerTimeoutError     it took too long
        WorkerMemoryError      it needed too much memory
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Literal, Self
from unicodedata import category

FaultKind = Literal[
    "usage", "config", "model", "extra", "input", "image", "data", "output", "training",
    "memory", "crash", "timeout", "stopped", "internal",
]  # fmt: skip
"""Those of the error tree; a lack of memory, a worker that died or took too long, a reading that was stopped, a bug."""


class ExitCode(IntEnum):
    """How a command ends."""

    OK = 0
    BUG = 1
    USAGE = 2
    INPUT_FAILED = 3
    INTERRUPTED = 130
    """Ctrl-C, as shells expect it: 128 and the number of the signal."""
    HANGUP = 129
    """The terminal was closed: SIGHUP."""
    TERMINATED = 143
    """SIGTERM."""


_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of what follows them, so that a name shows as another one."""


def printable(text: str) -> str:
    """Make what others wrote, a name or a text, fit for a terminal and for one line of a message.

    Characters that a terminal would obey, ends of lines and what is not text become U+FFFD. Letters of private use
    stay, as those of medieval fonts are, and so do the joiners of Persian and Indic scripts.
    """
    if text.isprintable():
        return text
    return "".join("\ufffd" if c in _TURNING or category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text)


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong, as data: on a page, a reading or an error. It is put into words for people at the edges only."""

    kind: FaultKind
    message: str
    """What went wrong, where, and the value that was met."""
    hint: str | None = None
    """What to do next, as one sentence."""

    def __str__(self) -> str:
        """The message, and the hint below it, fit for a terminal."""
        message = printable(self.message)
        return f"{message}\n  hint: {printable(self.hint)}" if self.hint else message


class QuillreadError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: What went wrong, where, and the value that was met.
        hint: What to do next, as one sentence; shown after the message.
    """

    kind: ClassVar[FaultKind] = "internal"
    exit_code: ClassVar[ExitCode] = ExitCode.BUG

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return str(self.fault)

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the hint on the way from one process to another."""
        return type(self)._rebuild, (self.message, self.hint)

    @classmethod
    def _rebuild(cls, message: str, hint: str | None) -> Self:
        return cls(message, hint=hint)

    @property
    def fault(self) -> Fault:
        """The error as data."""
        return Fault(self.kind, self.message, self.hint)


class UsageError(QuillreadError):
    """The command or call does not make sense as given."""

    kind: ClassVar[FaultKind] = "usage"
    exit_code = ExitCode.USAGE


class ConfigError(UsageError):
    """A setting is unknown, of the wrong type, or out of range."""

    kind: ClassVar[FaultKind] = "config"


class ModelError(UsageError):
    """A model is unknown, incomplete, or does not fit what is asked of it."""

    kind: ClassVar[FaultKind] = "model"


class MissingExtraError(UsageError):
    """An optional dependency is needed and not installed."""

    kind: ClassVar[FaultKind] = "extra"


class InputError(QuillreadError):
    """One input cannot be used; others may."""

    kind: ClassVar[FaultKind] = "input"
    exit_code = ExitCode.INPUT_FAILED


class ImageError(InputError):
    """An image cannot be read, or is not of the form that a step needs."""

    kind: ClassVar[FaultKind] = "image"


class DataError(InputError):
    """A dataset is missing, malformed or empty."""

    kind: ClassVar[FaultKind] = "data"


class SplitError(DataError):
    """A dataset has splits, and not the one that was asked for."""


class TrainingError(QuillreadError):
    """A training cannot go on: it diverged, or does not fit into the memory."""

    kind: ClassVar[FaultKind] = "training"
    exit_code = ExitCode.INPUT_FAILED


class OutputError(InputError):
    """A result cannot be written (a full disk, a missing permission)."""

    kind: ClassVar[FaultKind] = "output"


class WorkerError(QuillreadError):
    """A worker process was lost, and the job that it had with it; other jobs are not affected."""

    kind: ClassVar[FaultKind] = "crash"
    exit_code = ExitCode.INPUT_FAILED


class WorkerDiedError(WorkerError):
    """A worker process crashed, ended itself or was ended from outside."""


class WorkerTimeoutError(WorkerError):
    """A job took longer than it may."""

    kind: ClassVar[FaultKind] = "timeout"


class WorkerMemoryError(WorkerError):
    """A job needed more memory than it may have, or than there is."""

    kind: ClassVar[FaultKind] = "memory"
