"""Other readings of a line that TrOCR gives."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exports import IMAGES
from fakes import write_trocr
from liveliness import lively

from quillread.decode.hypothesis import Hypothesis
from quillread.models.model_folder import ModelInfo
from quillread.models.trocr.loading import Trocr, load_trocr
from quillread.models.trocr.settings import GenerateConfig
from quillread.recognize.recognizer import LineRecognizer
from quillread.recognize.trocr.engine import TrocrEngine
from quillread.recognize.trocr.torch_backend import TorchTrocr
from quillread.types import Calibration


@pytest.fixture
def model(tmp_path: Path) -> Trocr:
    return lively(load_trocr(write_trocr(tmp_path / "trocr")))


def info(**values: Any) -> ModelInfo:
    return ModelInfo(family="trocr", name="tiny", generate=GenerateConfig(**values))


def read(model: Trocr, **values: Any) -> list[Hypothesis]:
    facts = info(**values)
    return TrocrEngine(TorchTrocr(model, facts.generate), facts)(IMAGES)


def test_alternatives_are_other_texts_the_likeliest_first(model: Trocr):
    for reading in read(model, beams=6, alternatives=5, max_tokens=10):
        texts = [reading.text, *(text for text, _ in reading.alternatives)]
        scores = [p for _, p in reading.alternatives]
        assert len(texts) > 2 and len(set(texts)) == len(texts)
        assert scores == sorted(scores, reverse=True) and all(np.isfinite(scores))


def test_alternatives_do_not_change_the_reading(model: Trocr):
    assert [r.text for r in read(model, beams=4, alternatives=3)] == [r.text for r in read(model, beams=4)]


def test_alternatives_have_the_shares_that_a_ranking_gave_them(model: Trocr):
    def rank(readings: Sequence[Hypothesis]) -> list[Hypothesis]:
        total = sum(range(1, len(readings) + 1))
        shares = [(len(readings) - i) / total for i in range(len(readings))]
        shortest = sorted(readings, key=lambda reading: len(reading.text))
        return [replace(reading, share=share) for reading, share in zip(shortest, shares, strict=True)]

    facts = info(beams=6, alternatives=5, max_tokens=10)
    # How often shares are right, as `quill lm tune --save` stores it; of the network alone they say nothing.
    language = replace(facts.language, line_calibration=Calibration(0.0, 0.0, 1.0))
    facts = replace(facts, language=language)
    engine = TrocrEngine(TorchTrocr(model, facts.generate), facts, rank)
    for reading in engine(IMAGES):
        assert len(reading.alternative_shares) == len(reading.alternatives) > 1
        assert list(reading.alternative_shares) == sorted(reading.alternative_shares, reverse=True)
        assert reading.share is not None and max(reading.alternative_shares) < reading.share
    for transcript in LineRecognizer(engine, facts).read(IMAGES):
        sure = [transcript.confidence, *(other.confidence for other in transcript.alternatives)]
        assert sure == sorted(sure, reverse=True) and len(set(sure)) == len(sure)


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
def test_alternatives_do_not_narrow_the_search_of_the_model(model: Trocr):
    model.network.generation_config.update(num_beams=8, max_length=24)
    plain, narrow = read(model), read(model, beams=4)
    assert [r.text for r in narrow] != [r.text for r in plain]  # without such lines this would prove little
    assert [r.text for r in read(model, alternatives=2)] == [r.text for r in plain]
