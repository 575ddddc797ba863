from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from quillread.errors import DataError
from quillread.train.plan import LineKey, Plan, Usable, find_usable
from quillread.types import Sample


class TextSource:
    """Lines of a text and an aspect."""

    def __init__(self, lines: Sequence[tuple[str, float]], name: str = "lines") -> None:
        self.name = name
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def text(self, index: int) -> str:
        return self._lines[index][0]

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


class NoX:
    """A form that cannot learn an x."""

    def fault(self, text: str, aspect: float) -> str | None:
        return "with an x" if "x" in text else None

    def cuts(self, text: str) -> bool:
        return len(text) > 10


def test_lines_that_cannot_be_learnt_are_counted_by_reason():
    usable = find_usable(TextSource([("good", 4.0), ("", 4.0), ("  ", 4.0), ("xylem", 9.0)]), NoX())
    assert usable.indices.tolist() == [0]
    assert usable.left_out == Counter({"without text": 2, "with an x": 1})


def test_truncated_texts_are_counted_in_the_report():
    usable = find_usable(TextSource([("good", 4.0), ("much too long", 4.0)]), NoX())
    assert usable.report("lines") == "lines: 2 lines; 1 of them truncated"


def test_a_source_without_any_usable_line_says_why():
    with pytest.raises(DataError, match=r"no line can be used: lines: 0 lines \(left out: 2 without text\)"):
        find_usable(TextSource([("", 1.0), ("", 1.0)]), NoX())


def test_the_report_names_what_is_left_out():
    usable = Usable(np.arange(5), Counter({"too narrow": 1, "without text": 2}))
    assert usable.report("hub:x") == "hub:x: 5 lines (left out: 2 without text; 1 too narrow)"


def test_the_report_of_a_clean_source_is_its_size():
    assert Usable(np.arange(5), Counter()).report("hub:x") == "hub:x: 5 lines"
