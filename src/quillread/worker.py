"""One worker process, seen from both ends: the messages, the parent's handle, and the loop that does the jobs.

A message is a pickle (protocol 5) whose large buffers, such as arrays, travel beside it without being copied into it.
`processes` builds on it. Few imports, as they are what a new process needs before it builds its state.
"""

import contextlib
import io
import logging
import os
import pickle
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from logging.handlers import QueueHandler
from pathlib import Path
from types import FunctionType
from typing import Any, Generic, NamedTuple, TypeVar, cast

from quillread.errors import QuillreadError, UsageError, WorkerError

State = TypeVar("State")
Job = TypeVar("Job")
Result = TypeVar("Result")

OUT_OF_MEMORY = 77
"""Exit code of a worker that has not even the memory to answer."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_LEAVING_SECONDS = 5.0
_STALLED_SECONDS = 60.0


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def at_most_cores(threads: int) -> int:
    """Threads that are asked for, at most one a core, as more take minutes to wait for each other; 0 stays."""
    return min(threads, usable_cores())


Parts = Sequence[bytes | bytearray | memoryview]
"""A message as it travels: the pickle, then its buffers."""


class Setup(NamedTuple):
    """The first message to a worker."""

    memory: int | None
    """Limit in bytes."""
    levels: Mapping[str, int]
    """Levels of loggers by name, so that a worker records what the parent would."""
    task: bytes
    """Pickle of the functions `make` and `work`: in it, errors of importing them are ours to report."""


class Answer(NamedTuple):
    """A worker's answer to the first message and to each job."""

    value: Any
    error: Exception | None
    records: Sequence[Mapping[str, Any]]
    """Log records, as plain data."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Job, Result]):
    """What became of a job, for whoever gave it: a value or an error."""

    job: Job
    value: Result | None = None
    error: Exception | None = None
    """A WorkerError if the process was lost, else the exception that the job raised; None if it has a value."""
    records: Sequence[Mapping[str, Any]] = field(default=(), repr=False, compare=False)
    """What the job logged, as plain data."""

    def result(self) -> Result:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return cast(Result, self.value)

    def log(self) -> None:
        """Log here what the job logged there, where the program has set up its logging."""
        emit(self.records)


def dump(message: object) -> Parts:
    """Pickle a message."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    return [body, *(buffer.raw() for buffer in buffers)]


def load(parts: Parts) -> Any:
    """Build the message again; its arrays lie in the parts, and can be written to."""
    return pickle.loads(parts[0], buffers=parts[1:])


def send(channel: socket.socket, parts: Parts) -> None:
    """Send the number of parts, their sizes in bytes (unsigned, 64 bits, big-endian) and the parts."""
    sizes = [len(part) for part in parts]
    channel.sendall(struct.pack(f"!{1 + len(sizes)}Q", len(sizes), *sizes))
    for part in parts:
        channel.sendall(part)


def receive(channel: socket.socket) -> Parts:
    """Wait for a message.

    Raises:
        EOFError: If the other end is closed.
    """
    (count,) = struct.unpack("!Q", _receive_bytes(channel, 8))
    return [_receive_bytes(channel, size) for size in struct.unpack(f"!{count}Q", _receive_bytes(channel, 8 * count))]


def _receive_bytes(channel: socket.socket, size: int) -> bytearray:
    content = bytearray(size)
    rest = memoryview(content)
    while rest:
        received = channel.recv_into(rest)
        if received == 0:
            raise EOFError
        rest = rest[received:]
    return content


class _TaskPickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, FunctionType | type) and obj.__module__ == "__main__":
            raise UsageError(
                f"{obj.__qualname__} is defined in the script that is running, which workers do not import",
                hint="move it into a module of its own, and import it from there",
            )
        return NotImplemented


def pickle_task(make: Callable[..., Any], work: Callable[..., Any]) -> bytes:
    """Pickle the functions of a worker.

    Raises:
        UsageError: If a worker could not import them.
    """
    content = io.BytesIO()
    try:
        _TaskPickler(content).dump((make, work))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            f"this cannot be sent to a worker process: {error}", hint="pass functions of a module and plain data"
        ) from error
    return content.getvalue()


class Process:
    """A worker process and the channel to it, for the parent.

    Args:
        threads: Threads of the numerical libraries; None: their default.

    Raises:
        WorkerError: If it cannot be started.
    """

    def __init__(self, threads: int | None) -> None:
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(_STALLED_SECONDS)
        path = [str(folder) for folder in sys.path]
        code = f"import sys; sys.path[:] = {path!a}; from quillread.worker import serve; serve({theirs.fileno()})"
        variables = dict.fromkeys(_THREAD_VARIABLES, str(threads)) if threads else {}
        with theirs:
            try:
                # In a session of its own, Ctrl-C in the terminal does not reach it. It ends when the pipe closes.
                self._popen = subprocess.Popen(
                    [sys.executable, "-c", code],
                    stdin=subprocess.PIPE,
                    pass_fds=(theirs.fileno(),),
                    env={**os.environ, **variables},
                    start_new_session=True,
                )
            except OSError as error:
                self._channel.close()
                raise WorkerError(
                    f"a worker process cannot be started: {error}", hint="free memory or use fewer workers"
                ) from error
        self.pid = self._popen.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def fileno(self) -> int:
        """Descriptor of the channel, which is readable when there is an answer or the process has ended."""
        return self._channel.fileno()

    def send(self, parts: Parts) -> None:
        """Send a message; one that does not arrive shows when the answer is received."""
        with contextlib.suppress(OSError):
            send(self._channel, parts)

    def receive(self) -> Parts:
        """Wait for a message.

        Raises:
            EOFError: If the process has ended.
            TimeoutError: If it stops in the middle of the message.
        """
        try:
            return receive(self._channel)
        except ConnectionError as error:
            raise EOFError from error

    def resident_bytes(self) -> int:
        """Return the memory that it occupies; 0 where there is no /proc to tell."""
        try:
            fields = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()
        except OSError:
            return 0
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        """End it at once, from any thread."""
        self._popen.kill()

    def end(self, *, at_once: bool) -> int:
        """Let it leave, or kill it if it does not or is not to; returns its exit code."""
        if at_once:
            self._popen.kill()
        self._channel.close()
        try:
            code = self._popen.wait(_LEAVING_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            code = self._popen.wait()
        if self._popen.stdin:
            self._popen.stdin.close()
        return code


def log_levels() -> Mapping[str, int]:
    """Tell which records are of interest here: the levels of loggers by name."""
    return {name: logging.getLogger(name).level for name in ("", "quillread")}


def emit(records: Iterable[Mapping[str, Any]], heard: set[str] | None = None) -> None:
    """Log records of a worker here, where the program has set up its logging.

    Args:
        records: As plain data.
        heard: Messages that are not to be repeated; those of the records join them.
    """
    for record in map(logging.makeLogRecord, records):
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno) and (heard is None or record.msg not in heard):
            logger.handle(record)
        if heard is not None:
            heard.add(record.msg)


def serve(descriptor: int) -> None:
    """Be a worker: build the state, then do jobs until the parent closes the channel.

    Args:
        descriptor: Of the socket to the parent. Standard input is a pipe that closes when the parent ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to end
    _end_with_parent()
    try:
        with socket.socket(fileno=descriptor) as channel, contextlib.suppress(EOFError, ConnectionError):
            _serve(channel)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)


def _serve(channel: socket.socket) -> None:
    setup: Setup = load(receive(channel))
    _limit_memory(setup.memory)
    records = _record_logs(setup.levels)
    state: Any = None
    work: Callable[[Any, Any], Any]

    def build() -> None:
        nonlocal state, work
        make, work = pickle.loads(setup.task)
        state = make()

    send(channel, _attempt(build, records))
    while True:
        request = receive(channel)
        send(channel, _attempt(partial(_do, work, state, request), records))


def _do(work: Callable[[Any, Any], Any], state: Any, request: Parts) -> Any:
    return work(state, load(request))


def _attempt(action: Callable[[], Any], records: "queue.SimpleQueue[logging.LogRecord]") -> Parts:
    taken: list[Mapping[str, Any]] = []
    try:
        value = action()
        taken += _drain(records)
        return dump(Answer(value, None, taken))
    except Exception as error:  # of the job, or a value that cannot be pickled: the parent decides
        taken += _drain(records)
        return dump(Answer(None, _portable(error), taken))


def _portable(error: Exception) -> Exception:
    """Make sure that an exception survives the journey, and carries its traceback unless it is one of ours."""
    if _is_out_of_memory(error):
        return MemoryError()
    trace = "".join(traceback.format_exception(error))
    if not isinstance(error, QuillreadError):
        error.add_note(f"Raised in worker process {os.getpid()}:\n{trace}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return WorkerError(f"{type(error).__name__}: {error}\n{trace}")
    return error


def _is_out_of_memory(error: Exception) -> bool:
    """Know the errors of OpenCV, of onnxruntime and torch, and of C++, besides Python's own."""
    if isinstance(error, QuillreadError):
        return False
    phrases = ("Insufficient memory", "allocate memory", "bad_alloc")
    return isinstance(error, MemoryError) or any(phrase in str(error) for phrase in phrases)


def _end_with_parent() -> None:
    """Make this process end when the parent does, whatever it is doing and however the parent ended."""
    lifeline = os.dup(0)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)

    def watch() -> None:
        os.read(lifeline, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if sys.platform == "linux":
        # The thread starves while C code holds the interpreter's lock. The kernel's SIGIO does not; it ends a process.
        # PR_SET_PDEATHSIG would end this one with the parent's thread that started it.
        import fcntl

        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _limit_memory(limit: int | None) -> None:
    """Limit private memory. RLIMIT_AS would count address space that libraries with threads reserve and never use."""
    if limit is not None:
        import resource  # not on Windows

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _record_logs(levels: Mapping[str, int]) -> "queue.SimpleQueue[logging.LogRecord]":
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logging.getLogger().addHandler(QueueHandler(records))
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    return records


def _drain(records: "queue.SimpleQueue[logging.LogRecord]") -> Sequence[Mapping[str, Any]]:
    taken = [vars(records.get()) for _ in range(records.qsize())]
    return [{key: x for key, x in record.items() if isinstance(x, str | int | float | None)} for record in taken]
