"""Worker processes: order, losses, limits, and that none outlives its parent."""

import functools
import itertools
import logging
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import workers

from quillread.errors import (
    ConfigError,
    ModelError,
    UsageError,
    WorkerDiedError,
    WorkerError,
    WorkerMemoryError,
    WorkerTimeoutError,
)
from quillread.processes import Limits, Worker, WorkerPool
from quillread.worker import Outcome

MANY_SECONDS = 120
"""Guards against a hanging test; nothing is meant to take as long."""


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(workers.pid, workers.work_with, 2) as pool:
        yield pool


def one(pool: WorkerPool, name: str, argument: object = None) -> Outcome:
    [outcome] = pool.run([(name, argument)])
    return outcome


def limited(**limits: float) -> WorkerPool:
    return WorkerPool(workers.nothing, workers.work_with, 1, limits=Limits(**limits))


def test_results_come_in_the_order_of_the_jobs_however_long_each_takes(pool: WorkerPool):
    seconds = [random.Random(3).choice([0, 0, 0.02]) + i / 1e6 for i in range(40)]
    assert [outcome.result() for outcome in pool.run(("pause", s) for s in seconds)] == seconds


def test_an_outcome_names_its_job(pool: WorkerPool):
    assert one(pool, "echo", "letter") == Outcome(("echo", "letter"), "letter")


def test_no_jobs_have_no_outcomes(pool: WorkerPool):
    assert list(pool.run([])) == []


def test_the_state_is_built_once_in_the_process(pool: WorkerPool):
    for _ in range(3):
        outcomes = list(pool.run([("see_state", None), ("own_pid", None)], ahead=0))
        assert outcomes[0].value == outcomes[1].value


def test_processes_start_only_when_they_are_needed():
    with WorkerPool(workers.pid, workers.work_with, 8) as pool:
        pids = {one(pool, "own_pid").value for _ in range(3)}
        assert len(pids) == 1


def test_jobs_are_taken_when_there_is_room_for_them(pool: WorkerPool):
    counted = 0

    def endless() -> Iterator[tuple[str, int]]:
        nonlocal counted
        while True:
            counted += 1
            yield "echo", counted

    for done, outcome in enumerate(itertools.islice(pool.run(endless(), ahead=3), 20), start=1):
        assert outcome.value == done
        assert counted <= done + 3


def test_jobs_may_depend_on_earlier_results(pool: WorkerPool):
    sums = [1]
    jobs = (("echo", sums[-1] + 1) for _ in iter(lambda: sums[-1] >= 5, True))
    for outcome in pool.run(jobs, ahead=0):
        sums.append(outcome.result())
    assert sums == [1, 2, 3, 4, 5]


def test_an_error_of_the_jobs_comes_after_the_results_before_it(pool: WorkerPool):
    def jobs() -> Iterator[tuple[str, int]]:
        yield "echo", 1
        yield "echo", 2
        raise ModelError("no third job")

    run = pool.run(jobs())
    assert [next(run).value, next(run).value] == [1, 2]
    with pytest.raises(ModelError, match="no third job"):
        next(run)


def test_a_run_that_is_abandoned_leaves_a_pool_that_works(pool: WorkerPool):
    run = pool.run([("echo", 1), ("hang", None), ("hang", None)])
    assert next(run).value == 1
    run.close()
    assert one(pool, "echo", 2).value == 2


def test_a_pool_refuses_a_second_run_beside_the_first(pool: WorkerPool):
    run = pool.run([("echo", 1), ("echo", 2)])
    next(run)
    with pytest.raises(UsageError, match="still running"):
        one(pool, "echo")
    run.close()


@pytest.mark.parametrize(
    ("name", "argument", "message"),
    [
        ("leave", 3, "exit code 3"),
        ("exit_python", 4, "exit code 4"),
        ("crash", None, "crashed"),
        ("be_killed", None, "was killed"),
    ],
)
def test_a_job_that_ends_its_process_is_lost_alone(pool: WorkerPool, name: str, argument: object, message: str):
    jobs = [("echo", 0), (name, argument), *(("echo", number) for number in range(2, 8))]
    outcomes = list(pool.run(jobs))
    assert isinstance(outcomes[1].error, WorkerDiedError)
    assert message in outcomes[1].error.message
    assert [o.value for o in outcomes] == [0, None, *range(2, 8)]
    assert [o.error for o in outcomes if o is not outcomes[1]] == [None] * 7


def test_a_process_that_dies_between_jobs_costs_none():
    with WorkerPool(workers.nothing, workers.work_with, 1) as pool:
        pid = one(pool, "own_pid").value
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert one(pool, "own_pid").result() != pid


def test_a_job_over_its_time_is_lost_alone_even_if_it_holds_the_interpreter():
    with limited(seconds=2) as pool:
        outcomes = list(pool.run([("echo", 1), ("hang", None), ("echo", 3)]))
    assert isinstance(outcomes[1].error, WorkerTimeoutError)
    assert "2 seconds" in outcomes[1].error.message
    assert [o.value for o in outcomes] == [1, None, 3]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit private memory")
@pytest.mark.parametrize(("name", "size"), [("allocate", 4_000_000_000), ("enlarge", 40_000)])
def test_a_job_that_asks_for_too_much_memory_is_lost_alone(name: str, size: int):
    with limited(memory=700_000_000) as pool:
        outcomes = list(pool.run([("allocate", 1_000), (name, size), ("allocate", 1_000)]))
    assert isinstance(outcomes[1].error, WorkerMemoryError)
    assert "700 MB" in outcomes[1].error.message
    assert [o.value for o in outcomes] == [1_000, None, 1_000]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_memory_that_only_the_parent_can_see_is_limited_too():
    with limited(memory=300_000_000) as pool:
        assert isinstance(one(pool, "share", 600_000_000).error, WorkerMemoryError)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit private memory")
def test_a_job_too_large_to_be_received_is_out_of_memory():
    with limited(memory=300_000_000) as pool:
        assert isinstance(one(pool, "echo", bytes(400_000_000)).error, WorkerMemoryError)


def test_a_process_is_replaced_after_its_number_of_jobs():
    with limited(jobs=2) as pool:
        pids = [outcome.result() for outcome in pool.run([("own_pid", None)] * 6)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5]


def test_errors_of_ours_keep_type_message_and_hint(pool: WorkerPool):
    error = one(pool, "refuse").error
    assert (type(error), str(error)) == (ModelError, "page 3 is upside down\n  hint: turn it")


def test_other_errors_carry_the_traceback_of_the_worker(pool: WorkerPool):
    error = one(pool, "divide", 0).error
    assert isinstance(error, ZeroDivisionError)
    assert "in divide" in error.__notes__[0]


@pytest.mark.parametrize(
    ("name", "message"), [("raise_unpicklable", "UnpicklableError: leftright"), ("give_unpicklable", "lambda")]
)
def test_what_cannot_travel_is_an_error_of_its_job(pool: WorkerPool, name: str, message: str):
    assert message in str(one(pool, name).error)
    assert one(pool, "echo", 1).value == 1


def test_a_result_raises_the_error_of_its_job(pool: WorkerPool):
    with pytest.raises(ModelError, match="upside down"):
        one(pool, "refuse").result()


@pytest.mark.parametrize(("make", "error"), [(workers.missing_model, ModelError), (workers.bug, ZeroDivisionError)])
def test_a_state_that_cannot_be_built_is_an_error_of_the_run(make, error: type[Exception]):
    with WorkerPool(make, workers.work_with, 2) as pool, pytest.raises(error):
        list(pool.run([("echo", 1)]))


def test_a_process_that_dies_three_times_while_starting_is_given_up(tmp_path: Path):
    starts = tmp_path / "starts"
    make = functools.partial(workers.dying_start, starts)
    with WorkerPool(make, workers.work_with, 1) as pool, pytest.raises(WorkerDiedError, match="3 times"):
        list(pool.run([("echo", 1)]))
    assert starts.read_text(encoding="utf-8") == "start\n" * 3


def test_a_process_that_dies_while_starting_is_started_again(tmp_path: Path):
    make = functools.partial(workers.dying_first_start, tmp_path / "mark")
    with WorkerPool(make, workers.work_with, 1) as pool:
        assert one(pool, "echo", 1).value == 1


def test_log_records_of_a_job_come_when_they_are_asked_for(pool: WorkerPool, caplog: pytest.LogCaptureFixture):
    seen = []
    for outcome in pool.run([("warn", "page 1"), ("echo", None), ("warn", "page 2")]):
        assert not [record for record in caplog.records if "dirty" in record.msg]
        outcome.log()
        seen.append((outcome.job[1], [(r.name, r.levelno, r.getMessage()) for r in caplog.records if "a" in r.msg]))
        caplog.clear()
    expected = {
        page: [
            ("quillread.tests", logging.WARNING, f"{page} is dirty"),
            ("other", logging.WARNING, f"also {page}"),
        ]
        for page in ("page 1", "page 2")
    }
    assert [(page, [r for r in records if r[2] != "made"]) for page, records in seen] == [
        ("page 1", expected["page 1"]),
        (None, []),
        ("page 2", expected["page 2"]),
    ]


def test_log_records_of_building_the_state_arrive(caplog: pytest.LogCaptureFixture):
    with WorkerPool(workers.pid, workers.work_with, 1) as pool:
        one(pool, "echo")
    assert [record.getMessage() for record in caplog.records] == ["made"]


def test_log_records_of_building_the_state_are_told_once_for_all_workers(caplog: pytest.LogCaptureFixture):
    with WorkerPool(workers.pid, workers.work_with, 2) as pool:
        list(pool.run([("pause", 0.2), ("pause", 0.2), ("leave", 3), ("echo", None)]))
    assert [record.getMessage() for record in caplog.records] == ["made"]


def test_the_level_of_the_parent_decides_what_is_logged(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG, "quillread"), WorkerPool(workers.nothing, workers.work_with, 1) as pool:
        one(pool, "warn", "it").log()
    assert [record.getMessage() for record in caplog.records] == ["not of interest", "it is dirty", "also it"]


def test_arrays_travel_and_can_be_written_to(pool: WorkerPool):
    image = one(pool, "image", (30, 20, 3)).result()
    image[0, 0] = 1
    assert image.shape == (30, 20, 3)
    back = one(pool, "echo", np.asfortranarray(image)).result()
    assert np.array_equal(back, image)


def test_threads_of_numerical_libraries_are_set_in_the_process_only():
    before = dict(os.environ)
    with WorkerPool(workers.nothing, workers.work_with, 1, threads=3) as pool:
        assert one(pool, "environment", "OMP_NUM_THREADS").value == "3"
    assert dict(os.environ) == before


def test_a_worker_imports_from_where_the_parent_does(pool: WorkerPool):
    assert one(pool, "search_path").value == sys.path


def test_a_worker_does_not_take_the_input_of_the_parent(pool: WorkerPool):
    assert one(pool, "read_input").value == ""


@pytest.mark.parametrize("work", [lambda state, job: job, functools.partial(workers.work_with, threading.Lock())])
def test_functions_that_cannot_travel_are_refused(work):
    with pytest.raises(UsageError, match="cannot be sent to a worker"):
        WorkerPool(workers.nothing, work, 1)


@pytest.mark.parametrize("limits", [{"memory": 0}, {"seconds": -1}, {"jobs": 0}])
def test_limits_that_allow_nothing_are_refused(limits: dict[str, int]):
    with pytest.raises(ConfigError, match=f"limits.{next(iter(limits))} must be above 0"):
        Limits(**limits)


def test_a_pool_without_workers_is_refused():
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        WorkerPool(workers.nothing, workers.work_with, 0)


def test_a_negative_number_of_jobs_ahead_is_refused(pool: WorkerPool):
    with pytest.raises(ConfigError, match="at least 0, got -1"):
        next(pool.run([("echo", 1)], ahead=-1))


def test_a_worker_keeps_its_process_for_the_next_job():
    with Worker(workers.pid, workers.work_with) as worker:
        worker.start()
        pid = worker.pid
        for _ in range(2):
            worker.submit(("own_pid", None))
            assert worker.is_busy
            assert worker.result().value == pid
            assert not worker.is_busy
    assert worker.pid is None


def test_a_worker_outlives_the_thread_that_started_it():
    with Worker(workers.nothing, workers.work_with) as worker:
        thread = threading.Thread(target=worker.start)
        thread.start()
        thread.join()
        pid = worker.pid
        worker.submit(("own_pid", None))
        assert worker.result().value == pid


def test_a_worker_takes_one_job_at_a_time():
    with Worker(workers.nothing, workers.work_with) as worker:
        worker.submit(("echo", 1))
        with pytest.raises(UsageError, match="has a job already"):
            worker.submit(("echo", 2))


def test_a_worker_without_a_job_has_no_result():
    with Worker(workers.nothing, workers.work_with) as worker, pytest.raises(UsageError, match="no job"):
        worker.result()


def test_another_thread_can_end_a_job():
    with Worker(workers.nothing, workers.work_with) as worker:
        worker.submit(("echo", 1))
        worker.result()
        worker.submit(("hang", None))
        thread = threading.Thread(target=worker.kill)
        thread.start()
        assert isinstance(worker.result().error, WorkerDiedError)
        thread.join()
        worker.submit(("echo", 2))
        assert worker.result().value == 2


def test_a_job_can_be_ended_before_its_process_has_started():
    with Worker(workers.nothing, workers.work_with) as worker:
        worker.submit(("echo", 1))
        worker.kill()
        assert isinstance(worker.result().error, WorkerDiedError)


def test_a_program_that_cannot_be_run_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Worker(workers.nothing, workers.work_with) as worker, pytest.raises(WorkerError, match="cannot be started"):
        worker.start()


SCRIPT = """
import sys
import workers
from quillread.processes import WorkerPool
with WorkerPool(workers.nothing, workers.work_with, 2) as pool:
    for outcome in pool.run([("echo", 1), ("echo", 2), ("hang", None), ("{last}", {argument})]):
        print(outcome.value, flush=True)
"""


def start_script(source: str, *, file: Path | None = None) -> subprocess.Popen:
    """Run a program with workers: its output ends when the last process that holds it has ended."""
    command = [sys.executable, "-c", source]
    if file is not None:
        file.write_text(source, encoding="utf-8")
        command = [sys.executable, str(file)]
    path = os.pathsep.join(sys.path)
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.parametrize(("last", "argument"), [("hang", None), ("pause", 600)])
def test_no_worker_outlives_a_parent_that_is_killed(last: str, argument: object):
    with start_script(SCRIPT.format(last=last, argument=argument)) as script:
        assert [script.stdout.readline(), script.stdout.readline()] == ["1\n", "2\n"]
        script.kill()
        script.communicate(timeout=MANY_SECONDS)


def test_ctrl_c_ends_the_run_and_all_its_workers():
    with start_script(SCRIPT.format(last="hang", argument=None)) as script:
        assert [script.stdout.readline(), script.stdout.readline()] == ["1\n", "2\n"]
        os.killpg(script.pid, signal.SIGINT)
        _, errors = script.communicate(timeout=MANY_SECONDS)
    assert errors.count("KeyboardInterrupt") == 1
    assert "workers.py" not in errors


def test_a_worker_ignores_an_interrupt_that_reaches_it(pool: WorkerPool):
    run = pool.run([("own_pid", None), ("echo", 1)], ahead=0)
    os.kill(next(run).value, signal.SIGINT)
    assert next(run).value == 1


def test_a_script_without_a_guard_is_run_once(tmp_path: Path):
    source = """
import workers
from quillread.processes import WorkerPool
print("run")
with WorkerPool(workers.nothing, workers.work_with, 2) as pool:
    print([outcome.value for outcome in pool.run([("echo", 1), ("echo", 2)])])
"""
    with start_script(source, file=tmp_path / "script.py") as script:
        assert script.communicate(timeout=MANY_SECONDS) == ("run\n[1, 2]\n", "")


def test_functions_of_the_script_that_runs_are_refused(tmp_path: Path):
    source = """
import functools
import workers
from quillread.errors import UsageError
from quillread.processes import WorkerPool
class Mine: pass
def work(state, job): pass
for make in (workers.nothing, functools.partial(workers.nothing, Mine())):
    try:
        WorkerPool(make, work if make is workers.nothing else workers.work_with, 1)
    except UsageError as error:
        print(error.message)
"""
    with start_script(source, file=tmp_path / "script.py") as script:
        output, errors = script.communicate(timeout=MANY_SECONDS)
    assert errors == ""
    assert [line.split()[0] for line in output.splitlines()] == ["work", "Mine"]
