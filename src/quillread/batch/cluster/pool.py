"""Workers of a batch as actors of Ray.

Actors, not Ray Data: a batch must know which worker was lost with which pages, to try them again elsewhere and to park
a page that kills its worker; and a part of the data set counts once it is in the ledger. Ray Data retries blocks of its
own making, and tells neither. What it would bring is little work here: two tasks in flight for each actor are the
back-pressure, and no page or image passes the object store, since a worker reads its inputs and writes its part itself.
So the memory of the driver and of the store stays flat however long the list is.
"""

import logging
import math
import os
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from quillread.batch.cluster.metrics import PageMetrics, check_dashboard, tell_dashboard
from quillread.batch.cluster.shipping import Cargo, unpack
from quillread.batch.cluster.tasks import Task
from quillread.batch.cluster.worker import TaskWorker, WorkerConfig
from quillread.batch.executors import PageWorker, make_worker
from quillread.errors import QuillreadError, UsageError, WorkerError
from quillread.extras import require
from quillread.options import ReadOptions
from quillread.version import __version__

log = logging.getLogger(__name__)

_AHEAD = 2
"""Tasks that an actor has: one that it does, and one that it need not wait for."""
_STORE_BYTES = 200_000_000
"""Of the object store of a Ray of our own, which holds little but the models that are shipped."""
_LONGEST_TEMP = 30
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_START_SECONDS = 60.0
"""After which it is told that no worker has started."""
_CLOSE_SECONDS = 2.0
"""That workers have to let go of files."""
_LEAST_SHARE = 0.0001
"""Of a core or GPU that Ray hands out."""
_FAILED_STARTS = 5
"""Actors that may end in a row before one of them was ready."""


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """How many workers there are, and where."""

    address: str | None = None
    """Of a cluster of Ray; one on this machine is started, and ended with the run, if not given."""
    min_workers: int = 1
    max_workers: int = 1
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    """What Ray prepares on each machine before a worker starts."""
    dashboard: bool = False
    """Whether a Ray that is started on this machine has its dashboard, for this machine alone."""

    def __post_init__(self) -> None:
        if self.dashboard and self.address is not None:
            raise UsageError("a cluster of Ray that runs already has its own dashboard", hint="drop --dashboard")
        if not 1 <= self.min_workers <= self.max_workers:
            got = f"got {self.min_workers} to {self.max_workers}"
            raise UsageError(f"the workers must be at least 1, and at most as many as the most, {got}")
        for flag, number in (("--cpus-per-worker", self.cpus_per_worker), ("--gpus-per-worker", self.gpus_per_worker)):
            if not (number == 0 or _LEAST_SHARE <= number < math.inf):
                raise UsageError(f"{flag} must be 0, or at least {_LEAST_SHARE}, got {number:g}")
        if self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            message = f"--gpus-per-worker must be a whole number where it is more than 1, got {self.gpus_per_worker:g}"
            raise UsageError(message)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a task."""

    task: Task
    record: Mapping[str, Any] | None
    """None if its worker was lost."""
    why: str = ""
    """How it was lost."""


class Pool(Protocol):
    """Does tasks somewhere."""

    def has_room(self) -> bool:
        """Whether a task may be given."""

    def give(self, task: Task) -> None:
        """Have a task done."""

    def take(self, seconds: float) -> list[Done]:
        """What is done; waits for some if there is none yet, but not longer than some seconds."""

    def workers(self) -> int:
        """How many work."""

    def rest(self) -> None:
        """There is nothing more to give, so that workers without tasks may end."""

    def close(self) -> None:
        """End the workers."""


class _Actor:
    """A worker in a process of its own; made by Ray."""

    def __init__(self) -> None:
        self._worker: TaskWorker | None = None

    def start(self, config: WorkerConfig, cargo: Cargo, make: Callable[[ReadOptions], PageWorker]) -> str:
        """Load the models: not when it is made, as Ray keeps no error of that. Return the version of Quillread."""
        options = unpack(config.options, cargo)
        self._worker = TaskWorker(replace(config, options=options), make(options), PageMetrics())
        return __version__

    def do(self, task: Task) -> dict[str, Any]:
        """Do a task."""
        if self._worker is None:
            raise WorkerError("a worker was given a task before it was ready")
        return self._worker(task)

    def close(self) -> None:
        """Let go of files."""
        if self._worker is not None:
            self._worker.close()


@dataclass(eq=False)
class _Worker:
    """An actor as the driver sees it."""

    handle: Any
    starting: Any
    """What tells that it is ready; None once it is."""
    tasks: dict[Any, Task] = field(default_factory=dict)
    """What it was given, by what Ray will answer with."""


class RayPool:
    """Actors on the machines of a cluster, as many as there is work for.

    It starts with the least. While all have as much as they may have and there is more to do, others are added, up to
    the most; those that have nothing to do end when there is nothing more to give.

    Args:
        config: How many, and where.
        worker: What they share.
        cargo: Files that they need and may not have.
        make: Makes what reads pages, where the actor is; a function of a module.
    """

    def __init__(
        self,
        config: PoolConfig,
        worker: WorkerConfig,
        cargo: Cargo,
        make: Callable[[ReadOptions], PageWorker] = make_worker,
    ) -> None:
        self._ray = require("ray", "ray")
        self._config = config
        self._state = (self._ray.put(worker), self._ray.put(cargo), make)
        needs = {"num_cpus": config.cpus_per_worker, "num_gpus": config.gpus_per_worker}
        self._make = self._ray.remote(max_restarts=0, max_task_retries=0, **needs)(_Actor)
        self._workers: list[_Worker] = []
        self._failed = 0
        self._began = time.monotonic()
        self._told = False
        for _ in range(config.min_workers):
            self._add()

    def has_room(self) -> bool:
        """Whether a task may be given; adds a worker if there is none that could have it."""
        if any(len(worker.tasks) < _AHEAD for worker in self._workers if worker.starting is None):
            return True
        starting = sum(worker.starting is not None for worker in self._workers)
        # As many at a time as work already: quick where there is room, and few wait where there is none.
        for _ in range(min(max(self.workers(), 1) - starting, self._config.max_workers - len(self._workers))):
            self._add()
        return False

    def give(self, task: Task) -> None:
        """Have a task done by the worker that has least to do."""
        worker = min((w for w in self._workers if w.starting is None), key=lambda w: len(w.tasks))
        worker.tasks[worker.handle.do.remote(task)] = task

    def take(self, seconds: float) -> list[Done]:
        """What is done, and what was lost with its worker.

        Raises:
            UsageError: If a worker has another version of Quillread.
            QuillreadError: If a worker cannot load the models.
            WorkerError: If workers end before they are ready, again and again.
        """
        waiting = [ref for worker in self._workers for ref in (*filter(None, [worker.starting]), *worker.tasks)]
        if not waiting:
            return []
        ready, _ = self._ray.wait(waiting, num_returns=1, timeout=seconds)
        if not self.workers() and not self._told and time.monotonic() - self._began > _START_SECONDS:
            self._told = True
            needs = f"{self._config.cpus_per_worker:g} cores and {self._config.gpus_per_worker:g} GPUs"
            log.warning("no worker has started yet: each needs %s, which must be free on one machine", needs)
        found: list[Done] = []
        if ready:  # whatever else is ready by now, too
            more, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
            for ref in more:
                found += self._settle(ref)
        return found

    def workers(self) -> int:
        """How many are ready."""
        return sum(worker.starting is None for worker in self._workers)

    def rest(self) -> None:
        """There is nothing more to give: end workers without tasks, beyond the least."""
        idle = [worker for worker in self._workers if not worker.tasks]
        self._drop(idle[: max(len(self._workers) - self._config.min_workers, 0)])

    def close(self) -> None:
        """End all."""
        self._drop(tuple(self._workers))

    def _add(self) -> None:
        handle = self._make.remote()
        self._workers.append(_Worker(handle, handle.start.remote(*self._state)))

    def _drop(self, workers: Sequence[_Worker]) -> None:
        """End workers; those that do nothing let go of their files before."""
        closing = [worker.handle.close.remote() for worker in workers if worker.starting is None and not worker.tasks]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_SECONDS)
        for worker in workers:
            self._workers.remove(worker)
            self._ray.kill(worker.handle)

    def _settle(self, ref: Any) -> list[Done]:
        worker = next((w for w in self._workers if ref is w.starting or ref in w.tasks), None)
        if worker is None:  # it was lost with another task, just now
            return []
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            raise _cause(error) from error
        except self._ray.exceptions.RayError as error:
            return self._lose(worker, error)
        if ref is worker.starting:
            if answer != __version__:
                message = f"a worker has Quillread {answer}, and this is {__version__}"
                raise UsageError(message, hint="install the same version on all machines")
            worker.starting, self._failed = None, 0
            return []
        return [Done(worker.tasks.pop(ref), answer)]

    def _lose(self, worker: _Worker, error: Exception) -> list[Done]:
        cause = _found_cause(error)
        if cause is not None:
            raise cause from error
        self._workers.remove(worker)
        self._failed += worker.starting is not None
        why = " ".join(str(error).split())
        if self._failed >= _FAILED_STARTS:
            hint = "see the logs of Ray; a worker may need more memory than there is"
            raise WorkerError(f"{self._failed} workers in a row ended before they were ready: {why}", hint=hint)
        log.info("a worker was lost: %s", why)
        # Only the first task was begun.
        lost = [Done(task, None, why if place == 0 else "") for place, task in enumerate(worker.tasks.values())]
        while len(self._workers) < self._config.min_workers:
            self._add()
        return lost


def _cause(error: Any) -> Exception:
    """The error of ours that a worker raised, or else that of Ray."""
    return _found_cause(error) or WorkerError(f"a worker failed: {error}", hint="this is a bug in quillread")


def _found_cause(error: Any) -> QuillreadError | None:
    while error is not None:
        if isinstance(error, QuillreadError):
            # Ray makes a class of its own for it; ours says how the command ends.
            kind = next(kind for kind in type(error).__mro__ if kind.__module__ == QuillreadError.__module__)
            return kind(error.message, hint=error.hint)  # type: ignore[no-any-return]
        error = getattr(error, "cause", None) or error.__cause__
    return None


@contextmanager
def running_ray(config: PoolConfig, cargo: Cargo) -> Iterator[None]:
    """Connect to a cluster of Ray, or start one on this machine, which ends afterwards; its makers are told nothing.

    Args:
        config: Which.
        cargo: What its object store is to hold.

    Raises:
        MissingExtraError: If Ray is not installed, or the packages of its dashboard are not where that is asked for.
        UsageError: If there is no cluster at the address, or this machine lacks the GPUs that a worker needs.
    """
    if config.dashboard:
        check_dashboard()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before it is imported
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if config.runtime_env:
        settings["runtime_env"] = dict(config.runtime_env)
    with ExitStack() as stack:
        if config.address is None:
            settings |= _own_cluster(config, cargo, stack)
        else:
            settings["address"] = config.address
        ray = require("ray", "ray")
        is_main = threading.current_thread() is threading.main_thread()
        handlers = {number: signal.getsignal(number) for number in _SIGNALS} if is_main else {}
        given = os.environ.get("TMPDIR")
        if config.address is None:
            # What workers fetch and unpack goes with the rest of this Ray, although they are killed in the end.
            os.environ["TMPDIR"] = settings["_temp_dir"]
        stack.callback(ray.shutdown)  # also of what was started before it refused a setting
        try:
            context = ray.init(**settings)
        except (ConnectionError, ValueError, TypeError, RuntimeError, OSError) as error:
            where = config.address or "this machine"
            message = f"Ray cannot be reached or started at {where}: {error}"
            raise UsageError(message, hint="check --address and --runtime-env") from error
        finally:
            if config.address is None:
                os.environ.pop("TMPDIR")
                os.environ.update({} if given is None else {"TMPDIR": given})
        if config.address is None:
            _check_gpus(config, ray.cluster_resources())
        for number, handler in handlers.items():
            signal.signal(number, handler)  # Ray has its own, which would end the command without a word
        if config.dashboard:
            tell_dashboard(context.dashboard_url, ray.nodes())
        yield


def _check_gpus(config: PoolConfig, resources: Mapping[str, float]) -> None:
    """Refuse workers that would wait for ever: of a Ray that was started here, no machine joins later."""
    found = resources.get("GPU", 0.0)
    if config.gpus_per_worker > found:
        message = f"--gpus-per-worker {config.gpus_per_worker:g}: Ray finds {found:g} GPUs on this machine"
        raise UsageError(message, hint="drop it, or name a cluster that has them with --address")


def _own_cluster(config: PoolConfig, cargo: Cargo, stack: ExitStack) -> dict[str, Any]:
    """How Ray is started on this machine: for this run alone, and nothing of it stays."""
    # By a token that it need not keep in the user's folder: other users of this machine could give it work.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    # What keeps Ray to the loopback interface where systems ask for each port; an address of 127.0.0.1 is replaced.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    where = tempfile.gettempdir()
    # The paths of its sockets are as long again, and may have no more than 107 characters.
    folder = tempfile.TemporaryDirectory(
        prefix="quill-ray-", dir=where if len(where) < _LONGEST_TEMP else "/tmp", ignore_cleanup_errors=True
    )
    return {
        "address": "local",
        "num_cpus": max(1, math.ceil(config.max_workers * config.cpus_per_worker)),
        "include_dashboard": config.dashboard,
        "object_store_memory": _STORE_BYTES + cargo.size,
        "_temp_dir": stack.enter_context(folder),
    }
