import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from quillread.errors import TrainingError
from quillread.train import callbacks
from quillread.train.callbacks import (
    METRICS_NAME,
    CountSkips,
    EndInTime,
    RecordMetrics,
    StopSpeechless,
    TellProgress,
    draw_curve,
)

LOSSES = [{"step": s, "loss": 10.0 / s, "epoch": s / 10} for s in range(1, 20)]
RATES = [
    {"step": s, "eval_cer_spacing": 1 / s, "eval_wer_spacing": 2 / s, "eval_iam_cer_spacing": 1 / s}
    for s in (5, 10, 15)
]


@pytest.mark.parametrize("history", [LOSSES + RATES, LOSSES, RATES], ids=["both", "losses alone", "rates alone"])
def test_a_curve_is_drawn_of_what_there_is(tmp_path: Path, history: list[dict[str, float]]):
    draw_curve(history, tmp_path / "new" / "curve.png")
    with Image.open(tmp_path / "new" / "curve.png") as image:
        assert image.size == (960, 540)
        assert np.asarray(image.convert("L")).min() < 100


def test_the_log_is_json_even_if_a_loss_is_not_finite(tmp_path: Path):
    history = [{"step": 1, "loss": float("nan")}, {"step": 2, "grad_norm": float("inf"), "loss": 2.5}]
    state: Any = SimpleNamespace(is_world_process_zero=True, log_history=history)
    RecordMetrics(tmp_path).on_save(None, state, None)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    lines = (tmp_path / METRICS_NAME).read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line, parse_constant=refuse) for line in lines]
    assert entries == [{"step": 1, "loss": None}, {"step": 2, "grad_norm": None, "loss": 2.5}]


def test_steps_left_out_now_and_then_are_counted():
    skips = CountSkips()
    for step, finite in enumerate([False, False, True] * 5):
        skips.count(finite, step, most=3)
    assert skips.skipped == 10


def test_too_many_in_a_row_end_the_run():
    skips = CountSkips()
    skips.count(False, 1, most=2)
    with pytest.raises(TrainingError, match="2 gradients in a row"):
        skips.count(False, 2, most=2)


def test_the_count_goes_on_after_an_interruption():
    before, after = CountSkips(), CountSkips()
    before.count(False, 1, most=9)
    state: Any = SimpleNamespace(stateful_callbacks={"CountSkips": before.state()})
    after.on_train_begin(None, state, None)
    after.count(False, 2, most=9)
    assert after.skipped == 2


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(callbacks.time, "perf_counter", lambda: self.now)


def run_for(clock: Clock, end: EndInTime, seconds: float, kept: dict[str, Any] | None = None) -> Any:
    """Take a step that lasts so long; return what the training is told."""
    state: Any = SimpleNamespace(stateful_callbacks=kept or {})
    args: Any = SimpleNamespace(world_size=1)
    control: Any = SimpleNamespace(should_log=False, should_training_stop=False)
    end.on_train_begin(args, state, control)
    clock.now += seconds
    end.on_step_end(args, state, control)
    return control


def test_a_run_goes_on_until_its_time_is_over(monkeypatch: pytest.MonkeyPatch):
    clock, end = Clock(monkeypatch), EndInTime(2.0)
    assert not run_for(clock, end, 119).should_training_stop
    assert end.share == pytest.approx(119 / 120)
    assert run_for(clock, end, 121).should_training_stop
    assert end.share == 1


def test_the_time_before_an_interruption_counts_and_that_of_the_interruption_does_not(monkeypatch: pytest.MonkeyPatch):
    clock, before, after = Clock(monkeypatch), EndInTime(2.0), EndInTime(2.0)
    run_for(clock, before, 60)
    clock.now += 10_000
    assert not run_for(clock, after, 30, {"EndInTime": before.state()}).should_training_stop
    assert after.share == pytest.approx(0.75)


def stops(callback: StopSpeechless) -> bool:
    control: Any = SimpleNamespace(should_training_stop=False)
    callback.on_evaluate(None, None, control)
    return bool(control.should_training_stop)


def test_a_run_ends_that_says_the_same_for_all_lines(caplog: pytest.LogCaptureFixture):
    callback = StopSpeechless(2)
    told = []
    for texts in (["a"] * 9, ["a"] * 8 + ["b"], [""] * 9, [""] * 9):
        callback.look(texts)
        told.append(stops(callback))
    assert told == [False, False, False, True]
    assert "says the same for all 9 validation lines: 'a'" in caplog.text


def test_a_few_lines_may_read_the_same():
    callback = StopSpeechless(1)
    callback.look(["a"] * 4)
    assert not stops(callback)


def test_the_count_of_equal_readings_goes_on_after_an_interruption():
    before, after = StopSpeechless(2), StopSpeechless(2)
    before.look(["a"] * 9)
    state: Any = SimpleNamespace(stateful_callbacks={"StopSpeechless": before.state()})
    after.on_train_begin(None, state, None)
    after.look(["a"] * 9)
    assert after.has_stopped


def test_people_are_told_how_a_run_goes(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    now = iter([0.0, 100.0])
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: next(now))
    tell = TellProgress("eval_cer")
    history = [{"epoch": 0.0, "eval_cer": 0.25, "step": 0}]
    state: Any = SimpleNamespace(is_world_process_zero=True, global_step=20, max_steps=60, log_history=history)
    tell.on_train_begin(None, state, None)
    state.global_step = 30
    with caplog.at_level(logging.INFO, "quillread.train.progress"):
        tell.on_evaluate(None, state, None, metrics={"eval_cer": 0.125})
    assert "step 30 of 60: 12.5 % of characters wrong (25.0 % before the training), about 5 min left" in caplog.text


@pytest.mark.parametrize(("most", "left"), [(9_380_000, "19 min"), (110, "10 s")], ids=["by the clock", "by its steps"])
def test_a_run_by_the_clock_is_told_the_time_that_it_will_take(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, most: int, left: str
):
    clock, end = Clock(monkeypatch), EndInTime(20.0)
    tell = TellProgress("eval_cer", end)
    state: Any = SimpleNamespace(is_world_process_zero=True, global_step=0, max_steps=most, log_history=[])
    tell.on_train_begin(None, state, None)
    run_for(clock, end, 60)
    clock.now += 40
    state.global_step = 100
    with caplog.at_level(logging.INFO, "quillread.train.progress"):
        tell.on_evaluate(None, state, None, metrics={"eval_cer": 0.125})
    assert caplog.messages == [f"step 100: 12.5 % of characters wrong, about {left} left"]


@pytest.mark.parametrize(("step", "begun"), [(0, [{"epoch": 0.0, "eval_cer": 0.25, "step": 0}]), (20, [])])
def test_the_history_of_a_run_begins_with_its_start_once(tmp_path: Path, step: int, begun: list[dict[str, float]]):
    record = RecordMetrics(tmp_path)
    record.before = {"eval_cer": 0.25}
    state: Any = SimpleNamespace(global_step=step, log_history=[])
    record.on_train_begin(None, state, None)
    assert state.log_history == begun
