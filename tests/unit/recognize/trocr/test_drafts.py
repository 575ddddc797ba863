"""Greedy search that follows a draft."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exports import IMAGES, same
from PIL import Image

from quillread.errors import ModelError, UsageError
from quillread.language.catalog import AUTO, LanguageConfig
from quillread.models.model_folder import ModelInfo
from quillread.models.trocr.onnx_folder import TrocrFacts, read_facts
from quillread.models.trocr.onnx_network import Next, OnnxTrocr
from quillread.models.trocr.settings import GenerateChanges, GenerateConfig
from quillread.recognize import load as loading
from quillread.recognize.load import load
from quillread.recognize.trocr.drafts import Draft, nearest_prefix
from quillread.recognize.trocr.engine import TrocrEngine
from quillread.recognize.trocr.onnx_backend import ExportedTrocr
from quillread.types import UInt8Image

LINES = [(470, 290, 2190, 435), (440, 405, 2205, 540)]
"""Two of `examples/letter.jpg`."""
DRAFTS = {
    "its own text": lambda text: text,
    "nothing": lambda text: "",
    "another text": lambda text: "Quite another thing, and long: " + text[::-1],
    "twice as long": lambda text: text + text,
    "half": lambda text: text[: len(text) // 2],
    "a letter too many": lambda text: text[:3] + "Q" + text[3:],
    "a letter too few": lambda text: text[:2] + text[3:],
    "other letters": lambda text: text.replace("a", "o").replace(" ", ""),
    "letters that the tokenizer lacks": lambda text: "\u4e00\u05d0\U0001f600" + text,
}


@pytest.mark.parametrize("variant", ["base-handwritten", "small"])
@pytest.mark.parametrize("change", DRAFTS.values(), ids=DRAFTS)
def test_a_draft_changes_no_text(exports: dict[str, Path], variant: str, change: Callable[[str], str]):
    config = GenerateConfig(max_tokens=30)
    info, network = ModelInfo("trocr", "tiny", generate=config), OnnxTrocr(exports[variant], 1)
    plain = TrocrEngine(ExportedTrocr(network, config), info)(IMAGES)
    texts = {image.tobytes(): change(reading.text) for image, reading in zip(IMAGES, plain, strict=True)}
    drafter = lambda images: [texts[image.tobytes()] for image in images]  # noqa: E731
    same(TrocrEngine(ExportedTrocr(network, config, drafter), info)(IMAGES), plain)


def test_a_good_draft_saves_passes(exports: dict[str, Path], monkeypatch: pytest.MonkeyPatch):
    config = GenerateConfig(max_tokens=30)
    info, network = ModelInfo("trocr", "tiny", generate=config), OnnxTrocr(exports["base-handwritten"], 1)
    plain = TrocrEngine(ExportedTrocr(network, config), info)(IMAGES)
    texts = {image.tobytes(): reading.text for image, reading in zip(IMAGES, plain, strict=True)}
    passes = []
    step = OnnxTrocr.step

    def count(self: OnnxTrocr, *inputs: Any) -> Next:
        passes.append(1)
        return step(self, *inputs)

    monkeypatch.setattr(OnnxTrocr, "step", count)
    counts = []
    for drafter in (None, lambda images: [texts[image.tobytes()] for image in images]):
        passes.clear()
        TrocrEngine(ExportedTrocr(network, config, drafter), info)(IMAGES)
        counts.append(len(passes))
    assert counts[1] < counts[0] / 2


@pytest.mark.parametrize(
    ("text", "draft", "length"),
    [("", "abc", 0), ("ab", "abc", 2), ("xb", "abc", 2), ("a b", "ab cd", 2), ("abcd", "abd", 3), ("zz", "", 0)],
)
def test_the_nearest_beginning_of_a_draft_is_found(text: str, draft: str, length: int):
    assert nearest_prefix(text, draft) == length


def test_lines_that_cannot_be_drafted_are_read_without_and_that_is_told_once(
    exports: dict[str, Path], caplog: pytest.LogCaptureFixture
):
    def fail(images: Sequence[UInt8Image]) -> list[str]:
        raise ModelError("the built-in model cannot be run")

    config = GenerateConfig(max_tokens=12)
    info, network = ModelInfo("trocr", "tiny", generate=config), OnnxTrocr(exports["small"], 1)
    engine = TrocrEngine(ExportedTrocr(network, config, fail), info)
    plain = TrocrEngine(ExportedTrocr(network, config), info)(IMAGES)
    for _ in range(2):
        same(engine(IMAGES), plain)
    (told,) = caplog.records
    assert "without drafts, more slowly: the built-in model cannot be run" in told.getMessage()


@pytest.mark.parametrize(
    ("values", "language"),
    [({"beams": 3}, None), ({"alternatives": 2}, None), ({}, LanguageConfig(("en",)))],
    ids=["beams", "alternatives", "language"],
)
def test_drafts_that_no_search_would_follow_are_refused(
    exports: dict[str, Path], values: dict[str, Any], language: LanguageConfig | None
):
    folder = str(exports["small"])
    with pytest.raises(UsageError, match=f"{folder}: only greedy search follows drafts"):
        load(folder, generate=GenerateChanges(draft=True, **values), language=language)
    for draft in (None, False):
        load(folder, generate=GenerateChanges(draft=draft, **values), language=language)


def test_drafts_are_for_exported_models(folders: dict[str, Path], exports: dict[str, Path]):
    with pytest.raises(UsageError, match="only exported models follow drafts"):
        load(str(folders["small"]), generate=GenerateChanges(draft=True))
    load(str(folders["small"]), generate=GenerateChanges(draft=False))
    load(str(exports["small"]), generate=GenerateChanges(draft=True))


def test_drafts_are_what_the_built_in_model_reads_with_its_languages(
    exports: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    images = [np.asarray(Image.open("examples/letter.jpg").convert("RGB").crop(box)) for box in LINES]
    texts = []

    class Noted(Draft):
        def __init__(self, text: str, tokenizer: Any) -> None:
            texts.append(text)
            super().__init__(text, tokenizer)

    monkeypatch.setattr("quillread.recognize.trocr.onnx_backend.Draft", Noted)
    load(str(exports["small"]), threads=1, generate=GenerateChanges(draft=True)).read(images)
    known = load("builtin", threads=1, language=LanguageConfig((AUTO,))).read(images)
    assert sorted(texts) == sorted(read.text for read in known)
    assert all(len(text) > 10 for text in texts)


@pytest.mark.parametrize(("layers", "width", "gains"), [(12, 1024, True), (6, 256, False), (3, 256, False)])
def test_only_networks_whose_passes_are_dear_have_drafts_by_themselves(
    exports: dict[str, Path], monkeypatch: pytest.MonkeyPatch, layers: int, width: int, gains: bool
):
    facts = replace(read_facts(exports["small"]), layers=layers, heads=8, head_width=width // 8)
    assert facts.gains_by_drafts == gains
    opened = []
    monkeypatch.setattr(loading, "_open_drafter", lambda threads: opened.append(threads))
    monkeypatch.setattr(TrocrFacts, "gains_by_drafts", property(lambda self: gains))
    for draft in (None, False, True):
        opened.clear()
        load(str(exports["small"]), threads=1, generate=GenerateChanges(draft=draft))
        assert bool(opened) == (gains if draft is None else draft)
