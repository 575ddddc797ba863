"""The simulation of `scale_model.py`: a driver, workers and a store, as `quillread.batch.cluster` has them."""

import math
import random
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import simpy

from quillread.batch.cluster.plan import task_size

Events = Generator[simpy.Event, Any, None]

AHEAD, _COMMIT_SECONDS, _WAIT_SECONDS = 2, 1.0, 0.5  # as in pool.py and batch.py
_LATER = 1 << 30
"""Place of an input after which tasks have their full size."""
_SLICE_SECONDS = 0.1
"""For which a worker keeps its share of cores that others use, too."""
_SETTLE, CYCLES = 2, 3
"""Tasks of a worker before a window is measured, and in it."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run is made of. `scale_figures.py` measures those of a machine; the defaults say where they come from."""

    seconds_per_page: float = 1.75
    """Of one worker with one thread. Processor seconds of the pages in examples/ on one core of a Xeon at 2.1 GHz, two
    of them, while other programs ran."""
    page_spread: float = 0.35
    """Standard deviation of that over pages, as a share of it. Assumed."""
    shared_slowdown: float = 1.0
    """How much longer a page takes while all cores of the machine read, as they do on a cluster."""
    cores: int = 0
    """Of the one machine that all workers share; 0: a core for each."""
    bytes_in: float = 383_000
    """Of a page. The pages in examples/."""
    bytes_out: float = 14_700
    """Of a page in the data set. The pages in examples/, two in a part."""
    task_seconds: float = 0.006
    """Of a worker, for a task besides its pages. Measured on the same machine."""
    worker_start: float = 1.25
    """Seconds from when a worker is asked for until it can read, on a machine that is there. Measured."""
    store_latency: float = 0.05
    """Seconds of a request. "Tens of milliseconds" for less than 512 KB: docs.aws.amazon.com/whitepapers/latest/
    s3-optimizing-performance-best-practices/timeouts-and-retries-for-latency-sensitive-applications.html"""
    store_bandwidth: float = 50e6
    """Bytes a second of one worker. Assumed."""
    gets_per_second: float = 5500.0
    """That a store serves. S3, for each partitioned prefix: repost.aws/knowledge-center/http-5xx-errors-s3"""
    puts_per_second: float = 3500.0
    """The same source."""
    driver_task: float = 0.0007
    """Seconds of the driver for a task: give, get the answer, settle. Ray 2.60: 0.19 ms to submit, rest estimated."""
    driver_task_worker: float = 1.4e-7
    """And of that for each worker: has_room, give and settle go through the list of them. Measured with 10,000."""
    driver_loop: float = 0.0002
    """Seconds of the driver to ask Ray for what is done: two calls of ray.wait, with few workers."""
    driver_loop_worker: float = 2.1e-6
    """And of that for each worker. Measured: ray.wait takes 8.3 ms for 20,000 tasks in flight; the list 4.7 ms."""
    block_seconds: float = 0.005
    """Seconds of the driver to take apart a block of the plan, besides the request. Measured."""
    block_inputs: int = 1024
    """Of a block of the plan, as in plan.py."""
    record_bytes: float = 139
    """Of a task in the ledger. Measured."""
    straggler_share: float = 0.05
    """Of the workers that are slow. Assumed."""
    straggler_factor: float = 2.0
    """How much slower. Assumed."""
    preemptions_per_hour: float = 0.0
    """Of each worker."""
    replace_seconds: float = 120.0
    """Until there is another machine. Assumed."""


class Store:
    """Serves a limited number of requests a second, which those who ask share equally.

    Args:
        rate: Requests a second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self.askers = self.requests = 0

    def wait(self, count: int, seconds: float) -> float:
        """Seconds that one waits who makes so many requests and has so much to do besides."""
        return max(0.0, count * self.askers / self._rate - seconds)


@dataclass(eq=False)
class Task:
    """Pages that a worker reads in one go."""

    pages: int
    careful: bool = False


@dataclass(eq=False)
class Worker:
    """One as the driver sees it."""

    factor: float
    """How much slower it is than others."""
    tasks: deque[Task] = field(default_factory=deque)
    given: simpy.Event | None = None
    """What it waits for, while it has no task."""
    held: int = 0
    """Tasks that it has, as far as the driver knows."""
    is_ready: bool = False


class Run:
    """A run, or a window of one.

    Args:
        figures: What it is made of.
        workers: How many.
        pages_per_task: Of each task; None for the sizes of the plan.
        pages: Of the run; None for one without end.
        seed: Of the random numbers.
    """

    def __init__(
        self,
        figures: Figures,
        workers: int,
        pages_per_task: int | None,
        *,
        pages: int | None = None,
        seed: int = 1,
    ) -> None:
        self.env = simpy.Environment()
        self.figures = figures
        self._random = random.Random(seed)
        self._size = pages_per_task
        self._left = math.inf if pages is None else pages
        self._planned = self._blocks = 0
        self._gets = Store(figures.gets_per_second)
        self._puts = Store(figures.puts_per_second)
        self._again: deque[Task] = deque()
        self._done: deque[Worker] = deque()
        self._news = self.env.event()
        self._open: deque[Worker] = deque()
        """Workers with room for a task, those without any first; some are there more than once."""
        self._busy = 0
        self._is_window = pages is None
        self.pages_done = self.tasks_done = self.files = self.preemptions = 0
        self.driver_seconds = self.lost_seconds = 0.0
        self._flying = 0
        slow = round(workers * figures.straggler_share)
        factors = [figures.straggler_factor] * slow + [1.0] * (workers - slow)
        self.workers = [Worker(factor) for factor in factors]
        for worker in self.workers:
            self.env.process(self._live(worker))
        self._driver = self.env.process(self._drive())

    def mean_page(self) -> float:
        """Seconds of a page with the way to the store, of a worker of usual speed that waits for nobody."""
        figures = self.figures
        read = figures.seconds_per_page * (figures.shared_slowdown if figures.cores == 0 else 1)
        return read + figures.store_latency + figures.bytes_in / figures.store_bandwidth

    def ideal(self) -> float:
        """Pages a second of all workers if none of them ever waited; counts that some are slow."""
        size = self._size or task_size(_LATER)
        figures = self.figures
        way = figures.store_latency + figures.bytes_in / figures.store_bandwidth
        rest = figures.task_seconds + figures.store_latency + size * figures.bytes_out / figures.store_bandwidth
        read = self.mean_page() - way
        return sum(size / (size * (read * worker.factor + way) + rest) for worker in self.workers)

    def _live(self, worker: Worker) -> Events:
        """A worker: it starts, does what it is given, and is lost now and then."""
        while True:
            life = self.env.process(self._work(worker))
            rate = self.figures.preemptions_per_hour / 3600
            if not rate:
                yield life
                return
            yield self.env.timeout(self._random.expovariate(rate)) | life
            self.preemptions += 1
            worker.is_ready = False
            life.interrupt()
            yield life
            yield self.env.timeout(self.figures.replace_seconds)

    def _work(self, worker: Worker) -> Events:
        begun: float | None = None
        try:
            yield from self._start()
            worker.is_ready = True
            self._offer(worker)
            phase = self._random.random() if self._is_window and self.env.now == 0 else 1.0
            while True:
                if not worker.tasks:
                    worker.given = self.env.event()
                    yield worker.given
                    worker.given = None
                task = worker.tasks[0]
                begun = self.env.now - (1 - phase) * task.pages * self.mean_page() * worker.factor
                yield from self._read(task, worker.factor, phase)
                begun, phase = None, 1.0
                worker.tasks.popleft()
                self._done.append(worker)
                self.tasks_done += 1
                self.pages_done += task.pages
                self._tell()
        except simpy.Interrupt:
            worker.given = None
            self.lost_seconds += self.env.now - begun if begun is not None else 0.0
            self._lose(worker)

    def _start(self) -> Events:
        if self._is_window and self.env.now == 0:
            return  # it has been there for long
        yield from self._use(self.figures.worker_start)

    def _read(self, task: Task, factor: float, phase: float) -> Events:
        """Do a task; `phase` is the share of it that is left, where a window begins."""
        figures, gets, puts = self.figures, self._gets, self._puts
        pages = max(1, round(task.pages * phase))
        way = figures.store_latency + figures.bytes_in / figures.store_bandwidth
        # The sum of so many pages: a gamma distribution with their mean and spread.
        parts = pages if figures.cores else 1
        shape = pages / parts / figures.page_spread**2 if figures.page_spread else math.inf
        gets.askers += 1
        try:
            for _ in range(parts):
                seconds = pages / parts * figures.seconds_per_page * factor
                begin = self.env.now
                yield self.env.timeout(pages / parts * way)
                yield from self._use(
                    seconds if shape == math.inf else self._random.gammavariate(shape, seconds / shape)
                )
                yield self.env.timeout(gets.wait(pages // parts, self.env.now - begin))
        finally:
            gets.askers -= 1
        gets.requests += pages
        count = 1 + (pages if task.careful else 0)
        puts.askers += 1
        try:
            way = count * figures.store_latency
            yield self.env.timeout(way + puts.wait(count, way))
        finally:
            puts.askers -= 1
        yield self.env.timeout(figures.task_seconds + pages * figures.bytes_out / figures.store_bandwidth)

    def _use(self, seconds: float) -> Events:
        """Use a core; where all share some, for longer while others use them."""
        figures = self.figures
        if not figures.cores:
            yield self.env.timeout(seconds * figures.shared_slowdown)
            return
        self._busy += 1
        parts = max(1, math.ceil(seconds / _SLICE_SECONDS))
        for _ in range(parts):
            others = min(1.0, (self._busy - 1) / max(figures.cores - 1, 1))
            slowdown = (1 + (figures.shared_slowdown - 1) * others) * max(1.0, self._busy / figures.cores)
            yield self.env.timeout(seconds / parts * slowdown)
        self._busy -= 1

    def _lose(self, worker: Worker) -> None:
        tasks = [Task(task.pages, careful=place == 0) for place, task in enumerate(worker.tasks)]
        worker.tasks.clear()
        worker.held = 0
        self._flying -= len(tasks)
        self._again.extendleft(tasks)
        self._tell()

    def _offer(self, worker: Worker) -> None:
        self._open.append(worker) if worker.held else self._open.appendleft(worker)
        self._tell()

    def _tell(self) -> None:
        if not self._news.triggered:
            self._news.succeed()

    def _next(self) -> Task | None:
        if self._again:
            return self._again.popleft()
        if self._left <= 0:
            return None
        pages = min(self._size or task_size(self._planned), self._left)
        self._left -= pages
        self._planned += int(pages)
        return Task(int(pages))

    def _drive(self) -> Events:
        """The driver: what it does takes its time, and nothing else happens in it meanwhile."""
        figures, committed, waiting = self.figures, 0.0, 0
        while self._left > 0 or self._again or self._flying:
            yield from self._give()
            yield self.env.timeout(figures.driver_loop + figures.driver_loop_worker * len(self.workers))
            while self._done:
                worker = self._done.popleft()
                self._flying -= 1
                worker.held = max(worker.held - 1, 0)
                waiting += 1
                self._offer(worker)
            if waiting and self.env.now - committed > _COMMIT_SECONDS:
                committed = self.env.now
                self.files += 1
                yield from self._need(figures.store_latency + waiting * figures.record_bytes / figures.store_bandwidth)
                waiting = 0
            if not self._done and not (self._open and (self._left > 0 or self._again)):
                self._news = self.env.event()
                yield self._news | self.env.timeout(_WAIT_SECONDS)

    def _need(self, seconds: float) -> Events:
        self.driver_seconds += seconds
        yield self.env.timeout(seconds)

    def _give(self) -> Events:
        """Give tasks while there is room."""
        figures = self.figures
        per_task = figures.driver_task + figures.driver_task_worker * len(self.workers)
        is_first = self._is_window and self.env.now == 0  # these were given one by one
        while self._open and (task := self._next()) is not None:
            worker = self._open.popleft()
            if not worker.is_ready or worker.held >= AHEAD:
                self._again.appendleft(task)
                continue
            worker.tasks.append(task)
            worker.held += 1
            self._flying += 1
            if worker.held < AHEAD:
                self._open.append(worker)
            if worker.given is not None and not worker.given.triggered:
                worker.given.succeed()
            needed = per_task
            while self._planned > self._blocks * figures.block_inputs:
                self._blocks += 1
                needed += figures.store_latency + figures.block_seconds
            if not is_first:
                yield from self._need(needed)

    def window(self, cycles: int = CYCLES) -> dict[str, Any]:
        """Simulate a window in the steady state, after as long a time to settle as two tasks take.

        `driver_needed` is the share of its time that the driver needs for giving, blocks and records; in the rest it
        asks for what is done, as often as it can.
        """
        size = self._size or task_size(_LATER)
        cycle = size * max(self.mean_page(), len(self.workers) / self.figures.gets_per_second)
        self.env.run(until=cycle * _SETTLE)
        before = (self.pages_done, self.tasks_done, self.files, self.driver_seconds, self._gets.requests)
        self.env.run(until=cycle * (_SETTLE + cycles))
        pages, tasks, files, driver, gets = (
            now - then
            for now, then in zip(
                (self.pages_done, self.tasks_done, self.files, self.driver_seconds, self._gets.requests),
                before,
                strict=True,
            )
        )
        seconds = cycle * cycles
        rate = pages / seconds
        return {
            "workers": len(self.workers),
            "pages_per_task": size,
            "pages_per_second": round(rate, 1),
            "efficiency": round(rate / self.ideal(), 3),
            "driver_needed": round(driver / seconds, 3),
            "gets_share": round(gets / seconds / self.figures.gets_per_second, 3),
            "records_per_file": round(tasks / files, 1) if files else None,
            "files_per_second": round(files / seconds, 3),
        }

    def whole(self) -> float:
        """Simulate it to its end; seconds until its last page is in the ledger."""
        self.env.run(until=self._driver)
        return self.env.now + self.figures.store_latency
