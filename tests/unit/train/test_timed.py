import pytest

from quillread.errors import ConfigError
from quillread.train import timed
from quillread.train.config import ScheduleConfig
from quillread.train.timed import StopInTime, TimedRate, rate_at


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(timed, "time", clock)
    return clock


@pytest.mark.parametrize("shape", ["linear", "cosine", "warmup_stable_decay"])
def test_the_rate_rises_to_its_peak_and_falls_to_nothing(shape):
    schedule = ScheduleConfig(shape=shape, warmup=0.1, decay=0.4)
    rates = [rate_at(p / 100, schedule) for p in range(101)]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(1)
    assert rates[100] == pytest.approx(0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_the_rate_follows_the_clock_not_the_steps(clock):
    rate = TimedRate(ScheduleConfig(shape="linear", warmup=0, minutes=10))
    assert rate(0) == 1
    clock.now += 300
    assert rate(1) == pytest.approx(0.5)
    assert rate(500) == pytest.approx(0.5)


def test_the_run_ends_when_the_time_is_up(clock):
    class Control:
        should_training_stop = False

    rate, control = TimedRate(ScheduleConfig(minutes=1)), Control()
    stop = StopInTime(rate)
    for seconds, stops in ((0, False), (59, False), (2, True)):
        clock.now += seconds
        rate(0)
        stop.on_step_end(None, None, control)
        assert control.should_training_stop is stops


def test_a_checkpoint_keeps_the_time_and_not_the_clock(clock):
    rate = TimedRate(ScheduleConfig(minutes=1))
    rate(0)
    clock.now += 30
    rate(1)
    assert rate.__dict__ == {"seconds": 30}
    again = TimedRate(ScheduleConfig(minutes=1))
    again.__dict__.update(rate.__dict__)  # as LambdaLR does
    clock.now = 7.0  # another process, another clock
    again(2)
    assert again.progress == pytest.approx(0.5)


def test_no_time_at_all_is_refused():
    with pytest.raises(ConfigError, match="minutes"):
        ScheduleConfig(minutes=0)
