from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quillread.train.callbacks import draw_curve

LOSSES = [{"step": s, "loss": 10.0 / s, "epoch": s / 10} for s in range(1, 20)]
RATES = [{"step": s, "eval_cer": 1 / s, "eval_wer": 2 / s, "eval_iam_cer": 1 / s} for s in (5, 10, 15)]


@pytest.mark.parametrize("history", [LOSSES + RATES, LOSSES, RATES], ids=["both", "losses alone", "rates alone"])
def test_a_curve_is_drawn_of_what_there_is(tmp_path: Path, history: list[dict[str, float]]):
    draw_curve(history, tmp_path / "new" / "curve.png")
    with Image.open(tmp_path / "new" / "curve.png") as image:
        assert image.size == (960, 540)
        assert np.asarray(image.convert("L")).min() < 100
