"""The ledger: what is read with what, what is done, and that one run at a time works on a target."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from quillread.batch.cluster import ledger as ledgers
from quillread.batch.cluster import store as stores
from quillread.batch.cluster.ledger import Ledger, is_alive
from quillread.batch.cluster.store import Store
from quillread.batch.cluster.tasks import Item, Spread, Task
from quillread.errors import DataError, Fault, UsageError


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Store(str(tmp_path)))


def record(name: str, **changes: Any) -> dict[str, Any]:
    return {"task": name, "block": 0, "rows": 1, "inputs": 1, **changes}


def test_tasks_come_back_from_the_plan_as_they_were(ledger: Ledger):
    items = (
        Item("a.png", "/x/a.png", "a", {"id": 1, "title": "é"}),
        Item("tar://b.png::c.tar", "/x/c.tar", "b", span=(512, 7)),
        Item("x\udcff", "/x/x\udcff", "x", fault=Fault("input", "no", "hint")),
    )
    items += (Item("http://a/m", "http://a/m", "m", is_named=False),)
    tasks = [Task("000003-0000", 3, items[:2]), Task("000003-0001", 3, items[2:])]
    ledger.add_block(3, tasks)
    assert ledger.block(3) == tasks
    assert ledger.block(4) is None


def test_records_are_kept_over_runs_in_their_order(tmp_path: Path):
    for run in range(3):
        ledger = Ledger(Store(str(tmp_path)))
        list(ledger.records())
        ledger.commit([record(f"{run}-a"), record(f"{run}-b")])
        ledger.commit([record(f"{run}-c")])
    found = [line["task"] for line in Ledger(Store(str(tmp_path))).records()]
    assert found == [f"{run}-{name}" for run in range(3) for name in "abc"]


def test_many_files_of_records_become_one(tmp_path: Path, ledger: Ledger):
    for number in range(70):
        ledger.commit([record(f"t{number}")])
    before = list(ledger.records())
    ledger.merge()
    assert len(list((tmp_path / "_ledger" / "done").iterdir())) == 1
    again = Ledger(Store(str(tmp_path)))
    assert list(again.records()) == before
    again.commit([record("new")])
    assert [line["task"] for line in Ledger(Store(str(tmp_path))).records()][-2:] == ["t69", "new"]


def test_the_records_of_a_long_run_are_in_few_files(tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledgers, "_TOGETHER", 100)
    for number in range(250):
        ledger.commit([record(f"t{number}")])
    assert len(list((tmp_path / "_ledger" / "done").iterdir())) == 2 + 50
    found = [line["task"] for line in Ledger(Store(str(tmp_path))).records()]
    assert found == [f"t{number}" for number in range(250)]


def test_records_are_fetched_once(tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    for number in range(70):
        ledger.commit([record(f"t{number}")])
    again, asked, look = Ledger(Store(str(tmp_path))), list[str](), Store.read
    monkeypatch.setattr(Store, "read", lambda store, name: asked.append(name) or look(store, name))
    list(again.records())
    again.merge()
    assert len(asked) == len(set(asked)) == 70


def test_a_merge_that_was_cut_short_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger: Ledger):
    for number in range(70):
        ledger.commit([record(f"t{number}")])
    list(ledger.records())

    def die(self: Store, name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "delete", die)
    with pytest.raises(KeyboardInterrupt):
        ledger.merge()
    names = [line["task"] for line in Ledger(Store(str(tmp_path))).records()]
    assert set(names) == {f"t{number}" for number in range(70)}


def test_settings_that_are_equal_go_on_and_others_are_named(ledger: Ledger):
    settings = {"formats": ["txt"], "reading": {"models": [{"content": "a"}], "lm": "auto"}}
    assert ledger.open(settings) is False
    assert ledger.open({**settings}) is True
    with pytest.raises(UsageError) as caught:
        ledger.open({"formats": ["txt"], "reading": {"models": [{"content": "b"}], "lm": "auto", "new": 1}})
    assert 'reading.models[0].content: "a" before, "b" now' in caught.value.message
    assert "reading.new: null before, 1 now" in caught.value.message
    assert "formats" not in caught.value.message


def test_a_second_run_on_a_target_is_refused_while_the_first_one_works(ledger: Ledger):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as other:
        ledger.tell({"ended": False})
        told = ledger.run()
        assert told is not None
        Store(ledger._store.address).write("_ledger/run.json", ledgers._encode({**told, "process": other.pid}))
        with pytest.raises(UsageError, match=f"process {other.pid} of"):
            ledger.claim({})
        other.kill()
    ledger.claim({"ended": False})


def test_a_run_on_another_machine_that_gives_no_sign_of_life_is_over():
    away = {"host": socket.gethostname() + "-other", "process": os.getpid()}
    assert is_alive({**away, "time": time.time()})
    assert not is_alive({**away, "time": time.time() - ledgers.STALE - 1})


def test_a_run_that_ended_is_no_obstacle(ledger: Ledger):
    ledger.tell({"ended": True, "host": "other"})
    ledger.claim({})


def test_of_two_runs_that_begin_at_once_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one, other = (Ledger(Store(str(tmp_path))) for _ in range(2))
    look = Ledger.run

    def look_and_be_late(ledger: Ledger) -> Any:
        monkeypatch.setattr(Ledger, "run", look)
        found = look(ledger)
        other.claim({"ended": False})
        return found

    monkeypatch.setattr(Ledger, "run", look_and_be_late)
    with pytest.raises(UsageError, match="another run works on it"):
        one.claim({"ended": False})


def test_a_run_that_was_taken_for_dead_stops_before_it_writes(tmp_path: Path):
    one, other = (Ledger(Store(str(tmp_path))) for _ in range(2))
    one.claim({"ended": False})
    other.claim({"ended": False})  # by the same process, which counts as dead
    for write in (lambda: one.commit([record("a")]), lambda: one.add_block(0, []), lambda: one.tell({})):
        with pytest.raises(UsageError, match="another run works on it"):
            write()
    other.commit([record("b")])
    assert [line["task"] for line in other.records()] == ["b"]


def test_a_run_that_has_just_claimed_the_target_is_alive(tmp_path: Path, ledger: Ledger):
    ledger.tell({"ended": True})
    away = {"host": "elsewhere", "process": 1, "time": time.time()}
    Store(str(tmp_path)).write("_ledger/runs/000000.json", ledgers._encode(away))
    with pytest.raises(UsageError, match="process 1 of elsewhere"):
        ledger.claim({})


def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch):
    def refuse(process: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert is_alive({"host": socket.gethostname(), "process": 1, "time": time.time()})


def test_a_run_on_this_machine_whose_number_another_process_has_by_now_is_over():
    assert not is_alive({"host": socket.gethostname(), "process": os.getppid(), "time": time.time() - ledgers.STALE})


def test_signs_of_life_come_while_something_else_takes_long(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledgers, "_SIGN_SECONDS", 0.001)
    ledger.claim({"ended": False, "pages": 7})
    first = ledger.run()
    with ledger.signs_of_life():
        while (now := ledger.run()) == first:
            time.sleep(0.001)
    assert first is not None
    assert now is not None
    assert (now["pages"], now["time"] > first["time"]) == (7, True)


def test_settings_of_two_runs_that_begin_at_once_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one, other = (Ledger(Store(str(tmp_path))) for _ in range(2))
    other.open({"formats": ["txt"]})
    look, early = one.settings, [None]
    monkeypatch.setattr(one, "settings", lambda: early.pop() if early else look())
    with pytest.raises(UsageError, match="formats"):
        one.open({"formats": []})


def test_a_damaged_ledger_is_told(tmp_path: Path, ledger: Ledger):
    Store(str(tmp_path)).write("_ledger/settings.json", b"[1]")
    with pytest.raises(DataError, match="its ledger is damaged"):
        ledger.settings()
    Store(str(tmp_path)).write("_ledger/plan/000000.jsonl", b"{")
    with pytest.raises(DataError, match="its ledger is damaged"):
        ledger.block(0)


def test_files_that_a_killed_run_left_empty_count_for_nothing(tmp_path: Path, ledger: Ledger):
    for name in ("settings", "run", "plan/end"):
        Store(str(tmp_path)).write(f"_ledger/{name}.json", b"")
    assert (ledger.settings(), ledger.run(), ledger.plan_end()) == (None, None, None)
    assert ledger.open({"formats": ["txt"]}) is False
    ledger.claim({"ended": False})
    with pytest.raises(UsageError, match="formats"):
        ledger.open({"formats": []})


def test_a_block_of_the_plan_that_is_empty_is_told(tmp_path: Path, ledger: Ledger):
    # Its inputs may have been read: planned once more, they would have two rows.
    Store(str(tmp_path)).write("_ledger/plan/000000.jsonl", b"")
    with pytest.raises(DataError, match=r"its ledger is damaged: _ledger/plan/000000\.jsonl is empty"):
        ledger.block(0)


def test_records_that_a_run_puts_together_while_they_are_read_are_all_found(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ledgers, "_MERGED", 1)
    monkeypatch.setattr(stores, "_AT_A_TIME", 1)
    for number in range(3):
        ledger.commit([record(f"t{number}")])
    found = Ledger(Store(str(tmp_path))).records()
    names = [next(found)["task"]]
    ledger.commit([record("t3")])
    ledger.merge()
    assert names + [line["task"] for line in found] == ["t0", "t0", "t1", "t2", "t3"]


def test_records_that_go_again_and_again_are_told(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    ledger.commit([record("t0")])
    monkeypatch.setattr(Store, "read", lambda store, name: None)
    with pytest.raises(DataError, match="records go while they are read"):
        list(ledger.records())


def test_on_windows_a_process_is_not_asked_whether_it_works(monkeypatch: pytest.MonkeyPatch):
    def end(process: int, number: int) -> None:
        raise OSError

    run = {"host": socket.gethostname(), "process": 1, "time": time.time()}
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        windows.setattr(os, "kill", end)
        found = is_alive(run)
    assert found


def test_the_tasks_of_a_long_document_cover_each_of_its_pages_once():
    spread = Spread("000001-0002", 7, 1, Item("a.pdf", "/a.pdf", "a"), 40)
    tasks = spread.tasks()
    assert [task.pages for task in tasks] == [(0, 16), (16, 32), (32, 40)]
    assert len({task.part for task in tasks}) == 3
    assert spread.joining().joins == 3


def test_ids_differ_by_place_and_page_and_not_by_name():
    one = Item("a.png", "/x/a.png", "a")
    same = Item("./a.png", "/x/a.png", "other")
    inside = Item("a.png", "/x/a.png", "a", member="a.png")
    ids = {one.page_id(1), one.page_id(2), one.page_id(None), inside.page_id(1)}
    assert len(ids) == 4
    assert one.page_id(1) == same.page_id(1)
