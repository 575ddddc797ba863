"""The plan: inputs are cut into tasks as they are listed, each once, and a second run finds it as it was."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quillread.batch.cluster import plan as plans
from quillread.batch.cluster.ledger import Ledger
from quillread.batch.cluster.plan import Plan, Seen, task_size
from quillread.batch.cluster.store import Store
from quillread.batch.cluster.tasks import Item, Task
from quillread.errors import DataError


def make_items(count: int) -> list[Item]:
    return [Item(f"{i}.png", f"/x/{i}.png", str(i)) for i in range(count)]


def taken(plan: Plan) -> list[Task]:
    found = []
    for task in plan.tasks():
        if task is None:
            time.sleep(0.01)
        else:
            found.append(task)
    return found


def listed(folder: Path, items: list[Item]) -> tuple[Plan, list[Task]]:
    plan = Plan(Ledger(Store(str(folder))), lambda: iter(items))
    plan.start()
    tasks = taken(plan)
    plan.close()
    return plan, tasks


def names(tasks: list[Task]) -> list[str]:
    return [item.name for task in tasks for item in task.items]


def test_each_input_is_in_one_task(tmp_path: Path):
    plan, tasks = listed(tmp_path, make_items(3000))
    assert names(tasks) == [f"{i}.png" for i in range(3000)]
    assert len({task.name for task in tasks}) == len(tasks)
    assert (plan.inputs, plan.doubles, plan.is_whole) == (3000, 0, True)


def test_tasks_are_small_at_first():
    assert [task_size(place) for place in (0, 63, 64, 4096)] == [2, 2, 16, 64]


def test_a_second_run_has_the_same_tasks(tmp_path: Path):
    _, first = listed(tmp_path, make_items(200))
    plan, second = listed(tmp_path, make_items(200))
    assert (first, plan.doubles) == (second, 0)


def test_a_plan_that_was_cut_short_goes_on_where_it_ended(tmp_path: Path):
    _, first = listed(tmp_path, make_items(100))
    (tmp_path / "_ledger" / "plan" / "end.json").unlink()
    _, second = listed(tmp_path, make_items(300))
    assert second[: len(first)] == first
    assert names(second) == [f"{i}.png" for i in range(300)]


def test_inputs_that_came_in_between_are_planned_after_the_others(tmp_path: Path):
    items = make_items(50)
    listed(tmp_path, items[::2])
    _, tasks = listed(tmp_path, items)
    assert names(tasks) == [item.name for item in (*items[::2], *items[1::2])]


def test_inputs_named_twice_are_planned_once(tmp_path: Path):
    items = make_items(10)
    plan, tasks = listed(tmp_path, [*items, *items[:3]])
    assert (len(names(tasks)), plan.doubles) == (10, 3)


def test_no_two_inputs_have_results_of_one_name(tmp_path: Path):
    items = [Item(f"{i}/a.png", f"/{i}/a.png", "A" if i % 2 else "a") for i in range(4)]
    _, tasks = listed(tmp_path, items)
    stems = [item.stem for task in tasks for item in task.items]
    assert len({stem.casefold() for stem in stems}) == 4
    _, again = listed(tmp_path, [*items, Item("new/a.png", "/new/a.png", "a")])
    stems = [item.stem for task in again for item in task.items]
    assert len({stem.casefold() for stem in stems}) == 5


def test_the_first_tasks_are_there_before_all_is_listed(tmp_path: Path):
    go_on = threading.Event()

    def slow() -> Iterator[Item]:
        yield from make_items(64)
        go_on.wait()
        yield from make_items(100)[64:]

    plan = Plan(Ledger(Store(str(tmp_path))), slow)
    plan.start()
    tasks = plan.tasks()
    first = next(tasks)
    assert first is not None
    assert not plan.is_whole
    go_on.set()
    plan.close()


def test_the_rest_is_listed_when_the_first_tasks_are_taken_or_done(tmp_path: Path):
    plan = Plan(Ledger(Store(str(tmp_path))), lambda: iter(make_items(500)))
    plan.start()
    assert plan.inputs == 64
    plan.go_on()
    tasks = taken(plan)
    assert len(names(tasks)) == plan.inputs == 500
    plan.close()


def test_an_error_of_the_listing_is_raised_after_the_tasks_before_it(tmp_path: Path):
    def broken() -> Iterator[Item]:
        yield from make_items(5)
        raise DataError("gone")

    plan = Plan(Ledger(Store(str(tmp_path))), broken)
    plan.start()
    found: list[Task] = []
    with pytest.raises(DataError, match="gone"):
        for task in plan.tasks():
            found += [task] if task else []
    assert len(names(found)) == 5
    plan.close()


def test_a_plan_can_be_left_in_the_middle(tmp_path: Path):
    def endless() -> Iterator[Item]:
        number = 0
        while True:
            yield Item(f"{number}", f"/{number}", f"{number}")
            number += 1

    plan = Plan(Ledger(Store(str(tmp_path))), endless)
    plan.start()
    plan.close()
    assert Ledger(Store(str(tmp_path))).plan_end() is None


def test_a_plan_that_waits_for_a_store_can_be_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plans, "_STOP_SECONDS", 0.01)
    answer = threading.Event()

    def slow() -> Iterator[Item]:
        yield from make_items(64)
        answer.wait()
        yield from make_items(100)

    plan = Plan(Ledger(Store(str(tmp_path))), slow)
    plan.start()
    plan.close()
    answer.set()
    assert plan._thread is not None
    plan._thread.join()
    assert Ledger(Store(str(tmp_path))).block(1) is None


def test_a_part_of_the_plan_that_is_gone_is_told(tmp_path: Path):
    listed(tmp_path, make_items(100))
    plan = Plan(Ledger(Store(str(tmp_path))), lambda: iter(make_items(100)))
    plan.start()
    while not plan.is_whole:
        time.sleep(0.01)
    (tmp_path / "_ledger" / "plan" / "000001.jsonl").unlink()
    with pytest.raises(DataError, match="block 1 of the plan is gone"):
        taken(plan)
    plan.close()


def test_what_is_seen_lies_on_the_disk():
    seen = Seen()
    items = make_items(1000)
    assert all(seen.add(item) for item in items)
    assert not any(seen.add(item) for item in items)
    seen.close()
