import numpy as np
import pytest

from quillread.train.finder.print_lines import print_text


def test_printed_letters_stand_on_their_baseline():
    printed = print_text("xxx", face=0)
    rows = np.flatnonzero((printed.alpha > 0.5).any(axis=1))
    assert rows[-1] + 1 == pytest.approx(printed.foot, abs=1)
    assert rows[-1] + 1 - rows[0] == pytest.approx(printed.body, abs=2)
