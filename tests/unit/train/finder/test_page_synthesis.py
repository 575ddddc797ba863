import numpy as np
import pytest
from unit.train.finder.made_pages import BarSource

from quillread.train.finder.page_synthesis import SyntheticPages, make_page


def test_synthetic_pages_hold_ink_above_their_baselines():
    rng = np.random.default_rng(2)
    pages = [make_page([BarSource()], rng) for _ in range(6)]
    assert sum(len(page.lines) for page in pages) > 30
    for page in pages:
        for line in (line for line in page.lines if not line.printed and line.body > 6):
            (x0, y0), (x1, _) = line.baseline.astype(int)
            above = page.grey[max(0, int(y0 - line.body)) : y0, x0:x1].astype(float)
            below = page.grey[y0 + 2 : int(y0 + 0.5 * line.body) + 3, x0:x1].astype(float)
            if above.size and below.size and above.mean() >= below.mean():
                break
        else:
            return
    pytest.fail("no page has all its ink above its baselines")


def test_a_synthetic_page_is_the_same_for_the_same_number():
    first, again = (SyntheticPages([BarSource()], 5, seed=4)[3] for _ in range(2))
    assert np.array_equal(first.grey, again.grey)
    assert [line.body for line in first.lines] == [line.body for line in again.lines]
