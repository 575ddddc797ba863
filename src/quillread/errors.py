"""The error tree: every failure that a user can cause or mend, with the exit code it leads to."""


class QuillreadError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: What went wrong, where, and the value that was met.
        hint: What to do next, as one sentence; shown after the message.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(QuillreadError):
    """The command or call does not make sense as given."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown, of the wrong type, or out of range."""


class ModelError(UsageError):
    """A model is unknown, incomplete, or does not fit what is asked of it."""


class MissingExtraError(UsageError):
    """An optional dependency is needed and not installed."""


class InputError(QuillreadError):
    """One input cannot be used; others may."""

    exit_code = 3


class ImageError(InputError):
    """An image cannot be read, or is not of the form that a step needs."""


class DataError(InputError):
    """A dataset is missing, malformed or empty."""


class TrainingError(QuillreadError):
    """A training cannot go on: it diverged, or does not fit into the memory."""

    exit_code = 3


class OutputError(InputError):
    """A result cannot be written (a full disk, a missing permission)."""


class WorkerError(QuillreadError):
    """A worker process was lost, and the job that it had with it; other jobs are not affected."""

    exit_code = 3


class WorkerDiedError(WorkerError):
    """A worker process crashed, ended itself or was ended from outside."""


class WorkerTimeoutError(WorkerError):
    """A job took longer than it may."""


class WorkerMemoryError(WorkerError):
    """A job needed more memory than it may have, or than there is."""
