import numpy as np
import pytest

from quillread.train.finder.page_layout import lay_out


@pytest.mark.parametrize("seed", range(40))
def test_blocks_lie_on_the_page(seed: int):
    layout = lay_out(1024, 700, np.random.default_rng(seed))
    for block in layout.blocks:
        assert 0 <= block.x0 < block.x1 <= 700
        assert 0 <= block.y0 <= 1024 and 0 <= block.y1 <= 1024
