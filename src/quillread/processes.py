"""Worker processes with limits of memory and time: a job that crashes, hangs or eats memory costs only itself.

A worker is a fresh interpreter (neither a fork nor a second run of the user's script) that builds one state, such as a
reader with its model, and then takes one job at a time. Jobs and results travel as pickles over a socket.
The limits guard against accidents. They are not a sandbox: whoever takes over a worker has the rights of the user.
"""

import selectors
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, cast

from quillread.errors import (
    ConfigError,
    UsageError,
    WorkerDiedError,
    WorkerError,
    WorkerMemoryError,
    WorkerTimeoutError,
)
from quillread.worker import (
    OUT_OF_MEMORY,
    Answer,
    Job,
    Outcome,
    Parts,
    Process,
    Result,
    Setup,
    State,
    dump,
    emit,
    load,
    log_levels,
    pickle_task,
)

_STARTS = 3
_WATCH_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker process may use."""

    memory: int | None = None
    """Bytes: of private memory, reserved or used (RLIMIT_DATA), and of resident memory where there is a /proc."""
    seconds: float | None = None
    """Time for one job, without that for building the state."""
    jobs: int | None = None
    """Jobs after which the process is replaced, against libraries that leak."""

    def __post_init__(self) -> None:
        for name in ("memory", "seconds", "jobs"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"limits.{name} must be above 0, got {value}")


class Worker(Generic[Job, Result]):
    """One process that does one job at a time; a lost process is replaced when the next job comes.

    Not to be shared between threads, except for `kill`.

    Args:
        make: Called in the process to build the state: a function of a module, or a `functools.partial` of one.
        work: Called with state and job for each job.
        limits: What the process may use.
        threads: Threads of the numerical libraries in the process (OMP_NUM_THREADS and its like); None: their default.

    Raises:
        UsageError: If `make` or `work` cannot be sent to another process.
    """

    def __init__(
        self,
        make: Callable[[], State],
        work: Callable[[State, Job], Result],
        *,
        limits: Limits = Limits(),
        threads: int | None = None,
    ) -> None:
        self._task = pickle_task(make, work)
        self._limits = limits
        self._threads = threads
        self._process: Process | None = None
        self._is_ready = False
        self._failed_starts = 0
        self._jobs_done = 0
        self._job: Job | None = None
        self._request: Parts | None = None
        self._deadline = float("inf")
        self._is_killed = False
        self._lost: WorkerError | None = None
        self._heard: set[str] = set()

    @property
    def pid(self) -> int | None:
        """Id of the process; None if none runs."""
        return self._process.pid if self._process else None

    @property
    def is_busy(self) -> bool:
        """Whether it has a job."""
        return self._request is not None

    def start(self) -> None:
        """Start the process if none runs, and let it build its state meanwhile; the first job does so, too."""
        is_worn = self._is_worn()
        self._is_killed = False
        if not is_worn:
            return
        self.close()
        self._is_ready, self._jobs_done, self._lost = False, 0, None
        self._process = Process(self._threads)
        self._process.send(dump(Setup(self._limits.memory, log_levels(), self._task)))

    def submit(self, job: Job) -> None:
        """Give it a job, and return at once.

        Raises:
            UsageError: If it has one already.
        """
        if self._request is not None:
            raise UsageError("the worker has a job already", hint="ask for its result first")
        request = dump(job)
        self.start()
        self._job, self._request = job, request
        if self._is_ready:
            self._send_request()

    def result(self) -> Outcome[Job, Result]:
        """Wait for what becomes of the job.

        Raises:
            Exception: What `make` raised, if there is no state.
            WorkerDiedError: If the process dies each time it is started.
        """
        job, answer = cast(Job, self._job), None
        while answer is None:
            _wait([self])
            answer = self._advance()
        return Outcome(job, answer.value, answer.error, answer.records)

    def kill(self) -> None:
        """End the process now, from any thread; its job has a WorkerDiedError."""
        self._is_killed = True
        if process := self._process:
            process.kill()

    def close(self) -> None:
        """End the process at once, and drop its job."""
        if self._process is not None:
            # Leaving by itself, it would first free its state object by object: half a second with a language model.
            self._process.end(at_once=True)
        self._process, self._job, self._request = None, None, None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_worn(self) -> bool:
        if self._process is None or not self._process.is_alive or self._is_killed or self._lost is not None:
            return True
        return self._limits.jobs is not None and self._jobs_done >= self._limits.jobs

    def _running(self) -> Process:
        if self._process is None or self._request is None:
            raise UsageError("there is no job to wait for", hint="submit one first; closing a worker drops its job")
        return self._process

    def _send_request(self) -> None:
        self._running().send(cast(Parts, self._request))
        self._deadline = time.monotonic() + (self._limits.seconds or float("inf"))

    def _advance(self) -> Answer | None:
        """Take the next message, or note the loss of the process; None if the answer to the job is still to come."""
        answer = self._receive()
        if self._is_ready or self._is_killed:
            self._jobs_done += 1
            self._job, self._request, self._deadline = None, None, float("inf")
            return answer
        if answer.error is None:
            emit(answer.records, self._heard)  # once, however often the state is built
            self._is_ready, self._failed_starts = True, 0
            self._send_request()
        else:
            self._restart_after(answer.error)
        return None

    def _restart_after(self, error: Exception) -> None:
        job, request = self._job, self._request
        self.close()
        if not isinstance(error, WorkerDiedError):
            raise error
        self._failed_starts += 1
        if self._failed_starts == _STARTS:
            self._failed_starts = 0
            raise WorkerDiedError(
                f"the worker process was lost {_STARTS} times in a row while it started: {error.message}",
                hint="free memory or use fewer workers; without workers the cause may show itself",
            ) from error
        self.start()
        self._job, self._request = job, request

    def _receive(self) -> Answer:
        parts = self._receive_parts()
        if parts is None:
            self._running().end(at_once=True)
            return Answer(None, self._lost, ())
        try:
            answer = Answer(*load(parts))
        except Exception as error:  # a class that cannot be imported here, or raises when it is built again
            return Answer(None, error, ())
        if isinstance(answer.error, MemoryError):
            self._lost = self._out_of_memory()
            return answer._replace(error=self._lost)
        return answer

    def _receive_parts(self) -> Parts | None:
        """Receive a message; None if the process is lost, and `_lost` says why."""
        if self._is_killed:
            self._lost = WorkerDiedError("the worker process was ended before its job was done")
        if self._lost is not None:
            return None
        try:
            return self._running().receive()
        except EOFError:
            self._lost = self._cause_of_death(self._running().end(at_once=False))
        except TimeoutError:
            self._lost = WorkerTimeoutError("the worker process stopped in the middle of its answer")
        return None

    def _passes_limit(self) -> bool:
        process, limits = self._running(), self._limits
        if limits.memory is not None and process.resident_bytes() > limits.memory:
            self._lost = self._out_of_memory()
        elif time.monotonic() > self._deadline:
            self._lost = WorkerTimeoutError(
                f"took longer than the {limits.seconds:g} seconds allowed", hint="allow more seconds"
            )
        return self._lost is not None

    def _patience(self) -> float:
        left = max(0.0, self._deadline - time.monotonic())
        return min(left, 3600.0 if self._limits.memory is None else _WATCH_SECONDS)

    def _out_of_memory(self) -> WorkerMemoryError:
        if self._limits.memory is None:
            return WorkerMemoryError("needs more memory than is available", hint="free memory, or use fewer workers")
        megabytes = f"{self._limits.memory / 1e6:,.0f} MB"
        return WorkerMemoryError(f"needs more than the {megabytes} of memory allowed")

    def _cause_of_death(self, code: int) -> WorkerError:
        if code == OUT_OF_MEMORY:
            return self._out_of_memory()
        if code == -signal.SIGKILL:
            return WorkerDiedError(
                "the worker process was killed", hint="the machine may have run out of memory: use fewer workers"
            )
        if code < 0:
            return WorkerDiedError(
                f"the worker process crashed: {signal.strsignal(-code) or -code}",
                hint="the input may be damaged, or a library that reads it is at fault",
            )
        return WorkerDiedError(f"the worker process ended itself with exit code {code}")


class WorkerPool(Generic[Job, Result]):
    """Several workers for a stream of jobs; their processes start when they are needed and stay until `close`.

    Args:
        make: As for `Worker`.
        work: As for `Worker`.
        workers: Processes at most.
        limits: What each process may use.
        threads: Threads of the numerical libraries in each process.

    Raises:
        UsageError: If `make` or `work` cannot be sent to another process.
    """

    def __init__(
        self,
        make: Callable[[], State],
        work: Callable[[State, Job], Result],
        workers: int,
        *,
        limits: Limits = Limits(),
        threads: int | None = 1,
    ) -> None:
        if workers < 1:
            raise ConfigError(f"workers must be at least 1, got {workers}")
        self._workers = [Worker(make, work, limits=limits, threads=threads) for _ in range(workers)]
        for worker in self._workers:
            worker._heard = self._workers[0]._heard
        self._is_running = False

    def run(self, jobs: Iterable[Job | None], ahead: int | None = None) -> Iterator[Outcome[Job, Result]]:
        """Do jobs, and yield what became of each, in their order; what they logged waits there.

        Args:
            jobs: Taken one by one, each when a worker is free for it; may be endless. What it raises is raised here
                after the outcomes of the jobs before. None says that there is no job until one of those that were
                taken is done, as the next ones depend on it.
            ahead: Jobs that may be taken beyond the oldest whose outcome is not yet yielded; None: twice the workers.

        Raises:
            Exception: What `make` raised, if a process has no state to work with.
            WorkerDiedError: If a process dies each time it is started.
            UsageError: If the pool is still running other jobs.
        """
        if self._is_running:
            raise UsageError("the pool is still running other jobs", hint="take all their outcomes first")
        ahead = 2 * len(self._workers) if ahead is None else ahead
        if ahead < 0:
            raise ConfigError(f"ahead must be at least 0, got {ahead}")
        source = _Source(jobs)
        order: deque[_Slot[Job]] = deque()
        active: dict[Worker[Job, Result], _Slot[Job]] = {}
        self._is_running = True
        try:
            while True:
                for worker in _wait(list(active), block=bool(order) and order[0].answer is None):
                    if (answer := worker._advance()) is not None:
                        active.pop(worker).answer = answer
                while len(order) <= ahead and (free := self._free_worker()) and (slot := source.take()):
                    free.submit(slot.job)
                    active[free] = slot
                    order.append(slot)
                if not order:
                    break
                if (answer := order[0].answer) is not None:
                    yield Outcome(order.popleft().job, answer.value, answer.error, answer.records)
        finally:
            self._is_running = False
            for worker in self._workers:
                if worker.is_busy:
                    worker.close()
        if source.error is not None:
            raise source.error

    def close(self) -> None:
        """End all processes and drop their jobs; a later run starts new ones."""
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _free_worker(self) -> Worker[Job, Result] | None:
        free = [worker for worker in self._workers if not worker.is_busy]
        return max(free, key=lambda worker: worker.pid is not None, default=None)  # those that run come first


@dataclass(eq=False, slots=True)
class _Slot(Generic[Job]):
    job: Job
    answer: Answer | None = None


class _Source(Generic[Job]):
    """Hands out jobs; the error that ends them waits in `error` until the jobs before it are done."""

    def __init__(self, jobs: Iterable[Job | None]) -> None:
        self._jobs = iter(jobs)
        self.error: Exception | None = None

    def take(self) -> _Slot[Job] | None:
        try:
            job = next(self._jobs)
            return None if job is None else _Slot(job)
        except StopIteration:
            pass
        except Exception as error:
            self.error = error
        self._jobs = iter(())
        return None


def _wait(workers: Sequence[Worker[Any, Any]], *, block: bool = True) -> list[Worker[Any, Any]]:
    """Tell which workers have answered, are lost or pass a limit; waits for one unless it is not to block."""
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            selector.register(worker._running(), selectors.EVENT_READ, worker)
        while True:
            patience = min(worker._patience() for worker in workers) if block else 0
            answered = [key.data for key, _ in selector.select(patience)]
            ready = [worker for worker in workers if worker in answered or worker._passes_limit()]
            if ready or not block:
                return ready
