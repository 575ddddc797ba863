"""Exported TrOCR models for tests, and their comparison with those in torch."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes import line_image
from liveliness import lively

from quillread.decode.hypothesis import Hypothesis
from quillread.models.model_folder import ModelInfo, write_info
from quillread.models.trocr.export import find_facts
from quillread.models.trocr.loading import Trocr, load_trocr
from quillread.models.trocr.onnx_export import write_networks
from quillread.models.trocr.onnx_folder import TOKENIZER_NAME, WeightType, write_facts

IMAGES = [
    line_image(text, height)
    for text, height in (
        ("a", 30), ("some words here", 40), ("", 20), ("the end.", 64), ("and more of them, too", 33), ("x y", 25),
        ("Numbers 1 2 3", 40), ("who knows", 48), ("one more", 31), ("and the last one of them", 36),
    )
]  # fmt: skip


def lively_of(folder: Path) -> Trocr:
    model = load_trocr(folder)
    return lively(model)


def write_export(model: Trocr, folder: Path, weights: WeightType = "float32") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_networks(model, folder, weights)
    model.tokenizer.backend_tokenizer.save(str(folder / TOKENIZER_NAME))
    write_facts(find_facts(model, weights), folder)
    write_info(ModelInfo(family="trocr", name="tiny"), folder)
    return folder


def same(found: Sequence[Hypothesis], wanted: Sequence[Hypothesis]) -> None:
    assert [reading.text for reading in found] == [reading.text for reading in wanted]
    for mine, other in zip(found, wanted, strict=True):
        assert mine.log_probability == pytest.approx(other.log_probability, abs=1e-3)
        assert [text for text, _ in mine.alternatives] == [text for text, _ in other.alternatives]
        for a, b in zip(mine.emissions, other.emissions, strict=True):
            assert a.text == b.text
            assert (a.probability, a.start, a.stop) == pytest.approx((b.probability, b.start, b.stop), abs=1e-2)
