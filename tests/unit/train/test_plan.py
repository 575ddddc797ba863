from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from quillread.train.plan import LineKey, Plan
from quillread.types import Sample


class TextSource:
    """Lines of a text and an aspect, and of a group if there are groups."""

    def __init__(self, lines: Sequence[tuple[str, float]], groups: Sequence[str] = ()) -> None:
        self.name = "lines"
        self._lines = lines
        self._groups = groups

    def __len__(self) -> int:
        return len(self._lines)

    def text(self, index: int) -> str:
        return self._lines[index][0]

    def group(self, index: int) -> str:
        return self._groups[index] if self._groups else ""

    def aspect(self, index: int) -> float:
        return self._lines[index][1]

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        raise AssertionError("a plan makes no images")


def make_plan(
    sizes: Sequence[int], weights: Sequence[float], epoch_lines: int, batch_size: int = 4, seed: int = 1
) -> Plan:
    rng = np.random.default_rng(0)
    sources = [TextSource([("a", a) for a in rng.uniform(2, 20, size)]) for size in sizes]
    return Plan(sources, [np.arange(size) for size in sizes], weights, epoch_lines, batch_size, seed)


def keys(plan: Plan, epochs: range) -> list[LineKey]:
    return [key for epoch in epochs for batch in plan.batches(epoch) for key in batch]


def test_every_line_is_seen_equally_often_over_whole_passes():
    # 12 lines an epoch from 10: five epochs are six passes.
    seen = Counter(key.index for key in keys(make_plan([10], [1], 12), range(5)))
    assert seen == Counter(dict.fromkeys(range(10), 6))


def test_lines_are_seen_equally_often_but_for_the_pass_that_is_under_way():
    plan = make_plan([10, 7], [0.7, 0.3], 16)
    for epochs in (1, 2, 7):
        for source, size in enumerate((10, 7)):
            seen = Counter(k.index for k in keys(plan, range(epochs)) if k.source == source)
            counts = [seen[i] for i in range(size)]
            assert max(counts) - min(counts) <= 1


def test_a_line_repeated_in_another_pass_has_another_look():
    planned = keys(make_plan([6], [1], 12), range(3))
    assert len({key.seed for key in planned}) == len(planned)


@pytest.mark.parametrize(
    ("weights", "counts"),
    [([3, 1], [15, 5]), ([0.5, 0.5], [10, 10]), ([0.9, 0.05], [19, 1]), ([1, 2], [7, 13])],
)
def test_sources_have_the_share_of_their_weight(weights: list[float], counts: list[int]):
    plan = make_plan([30, 8], weights, 20)
    assert plan.counts == counts
    assert Counter(key.source for key in keys(plan, range(1))) == Counter(dict(enumerate(counts)))


def test_only_usable_lines_are_planned():
    source = TextSource([("a", 3.0)] * 10)
    plan = Plan([source], [np.array([2, 5, 7])], [1], 8, 2, seed=1)
    assert {key.index for key in keys(plan, range(2))} == {2, 5, 7}


@pytest.mark.parametrize(("epoch_lines", "batches"), [(20, 5), (23, 5), (3, 1)])
def test_an_epoch_has_whole_batches(epoch_lines: int, batches: int):
    plan = make_plan([50], [1], epoch_lines)
    assert plan.batches_per_epoch == batches
    assert [len(batch) for batch in plan.batches(0)] == [4] * batches


def test_the_plan_depends_on_its_seed_alone():
    assert make_plan([30, 9], [2, 1], 40).batches(3) == make_plan([30, 9], [2, 1], 40).batches(3)
    assert make_plan([30, 9], [2, 1], 40).batches(3) != make_plan([30, 9], [2, 1], 40, seed=2).batches(3)


def test_an_epoch_can_be_asked_for_without_those_before():
    plan = make_plan([30], [1], 20)
    later = plan.batches(4)
    plan.batches(0)
    assert plan.batches(4) == later
    assert plan.batches(0) != later


def test_lines_of_like_width_share_a_batch():
    plan = make_plan([160], [1], 160)
    source = plan.batches(0)
    aspects = np.random.default_rng(0).uniform(2, 20, 160)
    spread = np.mean([np.ptp([aspects[key.index] for key in batch]) for batch in source])
    assert spread < 1.0  # of 18, where four random lines would differ by 11


class TestBalance:
    """Writers of 90, 9 and 1 lines."""

    GROUPS = ["a"] * 90 + ["b"] * 9 + ["c"]

    def seen(self, balance: float, usable: Sequence[int] = range(100), passes: int = 30) -> Counter[str]:
        source = TextSource([("a", 3.0)] * 100, self.GROUPS)
        lines = len(usable) // 4 * 4
        plan = Plan([source], [np.array(usable)], [1], lines, 4, 1, balance)
        planned = keys(plan, range(passes))
        assert {key.index for key in planned} <= set(usable)
        assert len(planned) == passes * lines
        return Counter(self.GROUPS[key.index] for key in planned)

    def test_without_it_every_line_is_seen_equally_often(self):
        assert self.seen(0.0) == {"a": 2700, "b": 270, "c": 30}

    def test_whole_every_group_is_seen_equally_often(self):
        counts = self.seen(1.0)
        assert all(abs(count - 1000) <= 30 for count in counts.values())

    def test_half_way_the_share_of_a_group_is_the_root_of_its_lines(self):
        counts = self.seen(0.5)
        total = sum(n**0.5 for n in (90, 9, 1))
        for name, size in (("a", 90), ("b", 9), ("c", 1)):
            assert abs(counts[name] - 3000 * size**0.5 / total) <= 30

    @pytest.mark.parametrize("passes", [1, 3, 9, 20])
    def test_lines_of_a_group_are_seen_equally_often(self, passes: int):
        source = TextSource([("a", 3.0)] * 100, self.GROUPS)
        plan = Plan([source], [np.arange(100)], [1], 100, 4, 1, 1.0)
        seen = Counter(key.index for key in keys(plan, range(passes)))
        for lines in (range(90), range(90, 99)):
            counts = [seen[i] for i in lines]
            assert max(counts) - min(counts) <= 1

    def test_only_usable_lines_count(self):
        counts = self.seen(1.0, usable=range(80, 100))
        assert all(abs(count - 200) <= 30 for count in counts.values())

    def test_lines_of_unknown_writers_are_one_group(self):
        plan = Plan([TextSource([("a", 3.0)] * 8)], [np.arange(8)], [1], 8, 4, 1, 1.0)
        assert {key.index for key in keys(plan, range(1))} == set(range(8))

    def test_an_epoch_can_be_asked_for_without_those_before(self):
        source = TextSource([("a", 3.0)] * 100, self.GROUPS)
        plans = [Plan([source], [np.arange(100)], [1], 60, 4, 1, 0.7) for _ in range(2)]
        plans[0].batches(0)
        assert plans[0].batches(2) == plans[1].batches(2)
