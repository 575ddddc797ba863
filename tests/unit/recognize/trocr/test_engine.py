import itertools
import locale
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import TROCR_VARIANTS, line_image
from liveliness import lively
from PIL import Image
from transformers import CompileConfig

from quillread.decode.hypothesis import Hypothesis
from quillread.images.fit import CanvasConfig
from quillread.models.model_folder import ModelInfo
from quillread.models.trocr.loading import Trocr, load_trocr
from quillread.models.trocr.settings import GenerateConfig
from quillread.recognize.recognizer import LineRecognizer
from quillread.recognize.trocr.backend import LinePicture, Written
from quillread.recognize.trocr.engine import TrocrEngine
from quillread.recognize.trocr.torch_backend import TorchTrocr

IMAGES = [line_image(text, height) for text, height in (("a", 30), ("some words here", 40), ("", 20), ("the end.", 64))]
GENERATION: dict[str, dict[str, Any]] = {
    "nothing": {},
    "length": {"max_length": 20},
    "new tokens": {"max_new_tokens": 7},
    "beams": {"num_beams": 4, "max_length": 16},
    "beams, early": {"num_beams": 4, "early_stopping": True, "length_penalty": 2.0, "max_length": 24},
    "no repeats": {"no_repeat_ngram_size": 3, "max_length": 40},
    "beams, no repeats": {"num_beams": 3, "no_repeat_ngram_size": 2, "length_penalty": 0.5, "max_length": 20},
    "penalty": {"repetition_penalty": 1.5, "max_length": 20},
    "no end at first": {"min_length": 9, "max_length": 12},
    "end by force": {"forced_eos_token_id": 2, "max_length": 12},
    "several returned": {"num_beams": 3, "num_return_sequences": 3, "max_length": 12},
}


@pytest.fixture
def model(folders: dict[str, Path]) -> Trocr:
    return lively(load_trocr(folders["base-handwritten"]))


@pytest.mark.parametrize(("rows", "counted"), [("ignore", [1, 1]), ("flag", [2, 1])])
def test_a_crop_with_two_rows_of_writing_is_flagged_if_asked_for(model: Trocr, rows: Any, counted: list[int]):
    row = line_image("some words that make a long row of writing", 48)
    info = ModelInfo(family="trocr", name="tiny", generate=GenerateConfig(rows=rows, max_tokens=2))
    images = [np.concatenate([row, row]), row]
    assert [
        t.rows for t in LineRecognizer(TrocrEngine(TorchTrocr(model, info.generate), info), info).read(images)
    ] == counted


def info(**values: Any) -> ModelInfo:
    return ModelInfo(family="trocr", name="tiny", generate=GenerateConfig(**values))


def engine_of(model: Trocr, info: ModelInfo, **settings: Any) -> TrocrEngine:
    return TrocrEngine(TorchTrocr(model, info.generate, **settings), info)


def read(model: Trocr, images: list[np.ndarray] = IMAGES, batch_size: int = 8, **values: Any) -> list[Hypothesis]:
    return engine_of(model, info(**values), batch_size=batch_size)(images)


def read_plainly(model: Trocr, image: np.ndarray) -> list[str]:
    """What transformers reads, without us."""
    pixels = model.image_processor(Image.fromarray(image), return_tensors="pt").pixel_values
    with torch.no_grad():
        tokens = model.network.generate(pixels)
    return model.tokenizer.batch_decode(tokens, skip_special_tokens=True)


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
@pytest.mark.parametrize("settings", GENERATION.values(), ids=GENERATION)
def test_a_plain_folder_is_read_as_transformers_reads_it(model: Trocr, settings: dict[str, Any]):
    model.network.generation_config.update(**settings)
    assert [reading.text for reading in read(model)] == [read_plainly(model, image)[0] for image in IMAGES]


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
@pytest.mark.parametrize(
    ("asked", "settings"),
    [
        ({"no_repeat_ngram_size": 2, "max_tokens": 39}, {"no_repeat_ngram_size": 2, "max_length": 40}),
        ({"length_penalty": -2.0, "beams": 3, "max_tokens": 19},
         {"length_penalty": -2.0, "num_beams": 3, "max_length": 20}),
        ({"length_penalty": 2.0, "max_tokens": 19}, {"max_length": 20}),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_what_transformers_is_told(model: Trocr, asked: dict[str, Any], settings: dict[str, Any]):
    found = [reading.text for reading in read(model, **asked)]
    model.network.generation_config.update(**settings)
    assert found == [read_plainly(model, image)[0] for image in IMAGES]


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
@pytest.mark.parametrize("variant", TROCR_VARIANTS)
def test_every_variant_is_read_as_transformers_reads_it(folders: dict[str, Path], variant: str):
    model = load_trocr(folders[variant])
    assert [reading.text for reading in read(model)] == [read_plainly(model, image)[0] for image in IMAGES]


def test_characters_add_up_to_the_text(model: Trocr):
    for reading in read(model, max_tokens=60):
        assert "".join(e.text for e in reading.emissions) == reading.text


def test_some_texts_end_and_some_do_not(model: Trocr):
    # Of the network above: without both kinds the tests below would prove little.
    lengths = {len(tokens_of(model, image, max_new_tokens=16)) for image in IMAGES}
    assert 16 in lengths and len(lengths) > 2


def test_no_images_give_no_readings(model: Trocr):
    assert read(model, []) == []


@pytest.mark.parametrize("beams", [1, 3])
def test_a_reading_does_not_depend_on_the_lines_beside_it(model: Trocr, beams: int):
    alone = [read(model, [image], beams=beams, max_tokens=16)[0] for image in IMAGES]
    together = read(model, IMAGES, 3, beams=beams, max_tokens=16)
    assert [reading.text for reading in together] == [reading.text for reading in alone]
    assert [r.log_probability for r in together] == pytest.approx([r.log_probability for r in alone], abs=1e-4)


def score(model: Trocr, image: np.ndarray, tokens: list[int]) -> float:
    """Log probability of a text and its end, found by feeding it to the decoder."""
    pixels = model.image_processor(Image.fromarray(image), return_tensors="pt").pixel_values
    with torch.no_grad():
        inputs = torch.tensor([[2, *tokens]])
        log_probs = model.network(pixel_values=pixels, decoder_input_ids=inputs).logits[0].log_softmax(-1)
    return float(sum(log_probs[i, token] for i, token in enumerate([*tokens, 2])))


def tokens_of(model: Trocr, image: np.ndarray, **settings: Any) -> list[int]:
    """Tokens that transformers writes, without start and end."""
    pixels = model.image_processor(Image.fromarray(image), return_tensors="pt").pixel_values
    row = model.network.generate(pixels, **settings)[0, 1:].tolist()
    return list(itertools.takewhile(lambda token: token != 2, row))


@pytest.mark.parametrize("limit", [4, 16])
@pytest.mark.parametrize("beams", [1, 4])
def test_the_log_probability_is_that_of_all_tokens_and_the_end(model: Trocr, beams: int, limit: int):
    readings = read(model, beams=beams, max_tokens=limit)
    expected = [score(model, image, tokens_of(model, image, num_beams=beams, max_new_tokens=limit)) for image in IMAGES]
    assert [reading.log_probability for reading in readings] == pytest.approx(expected, abs=1e-4)


def test_texts_that_are_scored_a_few_at_a_time_have_the_same_probabilities(
    model: Trocr, monkeypatch: pytest.MonkeyPatch
):
    settings = {"beams": 3, "alternatives": 2, "max_tokens": 12}
    together = read(model, **settings)
    monkeypatch.setattr("quillread.recognize.trocr.likelihood._TOKENS_AT_ONCE", 1)
    apart = read(model, **settings)
    assert [r.log_probability for r in apart] == pytest.approx([r.log_probability for r in together], abs=1e-4)
    found = [[p for _, p in r.alternatives] for r in together]
    assert [[p for _, p in r.alternatives] for r in apart] == [pytest.approx(p, abs=1e-4) for p in found]


def test_what_the_search_forbids_does_not_touch_the_probabilities(model: Trocr):
    model.network.generation_config.update(no_repeat_ngram_size=1, repetition_penalty=2.0, max_length=30)
    (reading,) = read(model, IMAGES[:1])
    assert reading.log_probability == pytest.approx(score(model, IMAGES[0], tokens_of(model, IMAGES[0])), abs=1e-4)


def test_probabilities_of_characters_multiply_to_that_of_the_tokens(model: Trocr):
    (reading,) = read(model, IMAGES[:1], max_tokens=12)
    tokens = tokens_of(model, IMAGES[0], max_new_tokens=12)
    characters = float(np.sum(np.log([e.probability for e in reading.emissions])))
    # The whole has the end in addition, which belongs to no character.
    assert characters >= reading.log_probability
    assert characters == pytest.approx(score(model, IMAGES[0], tokens) - end_of(model, IMAGES[0], tokens), abs=1e-4)


def end_of(model: Trocr, image: np.ndarray, tokens: list[int]) -> float:
    """Log probability that a text ends after its tokens."""
    pixels = model.image_processor(Image.fromarray(image), return_tensors="pt").pixel_values
    with torch.no_grad():
        output = model.network(pixel_values=pixels, decoder_input_ids=torch.tensor([[2, *tokens]]))
    return float(output.logits[0, -1].log_softmax(-1)[2])


def test_a_limit_beyond_the_positions_of_the_decoder_is_lowered(model: Trocr):
    model.network.config.decoder.max_position_embeddings = 12
    assert all(len(reading.text) <= 60 for reading in read(model, max_tokens=10_000))


@pytest.mark.parametrize("variant", ["base-handwritten", "small"])
def test_characters_lie_in_order_within_the_image(folders: dict[str, Path], variant: str):
    for reading, image in zip(read(load_trocr(folders[variant])), IMAGES, strict=True):
        ends = [x for e in reading.emissions for x in (e.start, e.stop)]
        assert ends == sorted(ends) and all(0 <= x <= image.shape[1] for x in ends)
        assert all(e.start < e.stop for e in reading.emissions)


def look_from_left_to_right(model: Trocr, steps: int) -> None:
    """Let the decoder look one column of the canvas further with each token, in `steps` tokens to the end."""
    columns = 4

    def replace_gaze(module: Any, inputs: Any, output: Any) -> Any:
        weights = output[1]
        if weights is None:
            return output
        gaze = torch.zeros_like(weights)
        for token in range(weights.shape[2]):
            column = min(columns - 1, token * columns // steps)
            gaze[:, :, token, weights.shape[3] - columns**2 + column :: columns] = 1.0 / columns
        return output[0], gaze

    for layer in model.network.decoder.model.decoder.layers:
        layer.encoder_attn.register_forward_hook(replace_gaze)


@pytest.mark.parametrize("variant", ["base-handwritten", "small"])
def test_characters_are_where_the_decoder_looks(folders: dict[str, Path], variant: str):
    model = load_trocr(folders[variant])
    look_from_left_to_right(model, 8)
    image = line_image("some words", 64)
    model.network.generation_config.update(max_new_tokens=8, min_new_tokens=8)
    (reading,) = read(model, [image])
    middles = np.array([(e.start + e.stop) / 2 for e in reading.emissions]) / image.shape[1]
    places = (np.arange(len(middles)) + 0.5) / len(middles)
    assert np.abs(middles - places).max() < 0.2


def test_positions_on_a_padded_canvas_are_those_of_the_image(model: Trocr):
    look_from_left_to_right(model, 16)
    image = np.full((60, 30, 3), 255, np.uint8)
    # The canvas is twice as wide as the image: half of the tokens are written while it looks at the paper beside it.
    model.network.generation_config.update(max_new_tokens=16, min_new_tokens=16)
    engine = engine_of(model, replace(info(), canvas=CanvasConfig(64, 64, "pad")))
    (reading,) = engine([image])
    assert reading.emissions[-1].stop == 30.0
    starts = [e.start for e in reading.emissions]
    assert sum(start < 15.0 for start in starts) <= len(starts) // 2 + 1


def test_the_network_is_put_back_as_it_was(model: Trocr):
    model.network.train()
    read(model, IMAGES[:1])
    assert model.network.training and model.network.decoder.training


def test_training_mode_does_not_change_what_is_read(model: Trocr):
    model.network.train()
    first, second = read(model), read(model)
    assert first == second


def test_mixed_precision_reads(model: Trocr):
    engine = engine_of(model, info(max_tokens=8), mixed=torch.bfloat16)
    assert len(engine(IMAGES)) == len(IMAGES)


def test_an_image_one_pixel_high_is_read(model: Trocr):
    assert len(read(model, [np.zeros((1, 40, 3), np.uint8), np.zeros((3, 1, 3), np.uint8)])) == 2


def test_a_guard_cuts_what_the_decoder_does_not_look_at(model: Trocr):
    bias = torch.zeros(model.network.config.decoder.vocab_size)
    bias[model.tokenizer.encode("a", add_special_tokens=False)[0]] = 100.0
    model.network.decoder.output_projection.bias = torch.nn.Parameter(bias)
    image = line_image("a", 64)
    (plain,) = read(model, [image], max_tokens=80)
    (guarded,) = read(model, [image], max_tokens=80, guard_repeats=True)
    assert plain.text == "a" * 80
    assert len(guarded.text) < 30 and np.isfinite(guarded.log_probability)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, model: Trocr) -> Iterator[list[tuple[int, ...]]]:
    """Sizes of the images that are read one by one, (height, width)."""
    seen: list[tuple[int, ...]] = []
    whole = TorchTrocr.write

    def write_and_count(backend: TorchTrocr, lines: Iterable[LinePicture], readings: int) -> list[list[Written]]:
        taken = list(lines)
        seen.extend(line.image.shape[:2] for line in taken)
        return whole(backend, taken, readings)

    monkeypatch.setattr(TorchTrocr, "write", write_and_count)
    return seen  # type: ignore[return-value]


def test_a_long_line_is_read_in_parts(model: Trocr, counted: list[tuple[int, ...]]):
    image = line_image("a long line with a good many words in it", 32)
    (reading,) = read(model, [image], split_long=4.0)
    assert len(counted) > 1 and all(width <= 4 * height for height, width in counted)
    assert reading.emissions[-1].stop > image.shape[1] / 2


def test_a_line_that_fits_is_read_whole(model: Trocr, counted: list[tuple[int, ...]]):
    image = line_image("short", 32)
    assert read(model, [image], split_long=8.0) == read(model, [image])
    assert counted == [image.shape[:2]] * 2


class Slow:
    """A backend whose first reading lasts until it is let go; wide images, where told, are too much for it."""

    def __init__(self, backend: TorchTrocr, widest: int = 10**9) -> None:
        self.canvas, self.spell, self._backend, self._widest = backend.canvas, backend.spell, backend, widest
        self.batches: list[int] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def write(self, lines: Iterable[LinePicture], readings: int) -> list[list[Written]]:
        pictures = list(lines)
        self.batches.append(len(pictures))
        self.begun.set()
        assert self.go.wait(60)
        if any(picture.image.shape[1] > self._widest for picture in pictures):
            raise MemoryError("too wide")
        return self._backend.write(pictures, readings)


def read_side_by_side(backend: Slow, pages: list[list[np.ndarray]]) -> list[list[str] | BaseException]:
    """Read the lines of several pages, each in a thread of its own; the first one begins before the others."""
    engine = TrocrEngine(backend, info())
    with ThreadPoolExecutor(len(pages)) as threads:
        first = threads.submit(engine, pages[0])
        assert backend.begun.wait(60)
        others = [threads.submit(engine, page) for page in pages[1:]]
        while len(engine._write._waiting) < len(others):
            time.sleep(0.01)
        backend.go.set()
        return [reading.exception() or [line.text for line in reading.result()] for reading in (first, *others)]


def test_lines_of_pages_that_wait_are_read_together_and_as_if_alone(model: Trocr):
    pages = [IMAGES[:1], IMAGES[1:3], IMAGES[2:], [], IMAGES]
    slow = Slow(TorchTrocr(model, GenerateConfig()))
    assert read_side_by_side(slow, pages) == [[line.text for line in read(model, page)] for page in pages]
    assert slow.batches == [1, 8]


def test_an_error_of_one_page_that_waits_is_no_error_of_the_others(model: Trocr):
    pages = [IMAGES[:1], IMAGES[:1], IMAGES[1:2], IMAGES[2:3]]
    widest = max(image.shape[1] for page in (pages[1], pages[3]) for image in page)
    assert widest < IMAGES[1].shape[1]
    found = read_side_by_side(Slow(TorchTrocr(model, GenerateConfig()), widest), pages)
    assert isinstance(found[2], MemoryError)
    assert [found[i] for i in (0, 1, 3)] == [[line.text for line in read(model, pages[i])] for i in (0, 1, 3)]


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
@pytest.mark.parametrize("variant", TROCR_VARIANTS)
@pytest.mark.parametrize("values", [{}, {"beams": 3, "alternatives": 2}], ids=["greedy", "beams"])
def test_a_cache_of_fixed_size_changes_no_reading(folders: dict[str, Path], variant: str, values: dict[str, Any]):
    model = lively(load_trocr(folders[variant]))
    facts = info(max_tokens=20, **values)
    plain, static = (engine_of(model, facts, static_cache=chosen)(IMAGES) for chosen in (False, True))
    assert [reading.text for reading in static] == [reading.text for reading in plain]
    for one, other in zip(static, plain, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)
        assert [text for text, _ in one.alternatives] == [text for text, _ in other.alternatives]


def test_a_cache_of_fixed_size_is_what_transformers_is_asked_for(model: Trocr, monkeypatch: pytest.MonkeyPatch):
    asked = []
    generate = model.network.generate
    monkeypatch.setattr(model.network, "generate", lambda **told: asked.append(told) or generate(**told))
    for chosen in (False, True):
        engine_of(model, info(max_tokens=4), static_cache=chosen)(IMAGES[:1])
    assert [told.get("cache_implementation") for told in asked] == [None, "static"]


@pytest.mark.parametrize("variant", TROCR_VARIANTS)
def test_the_encoder_attends_by_the_fused_kernel_of_torch(folders: dict[str, Path], variant: str):
    network = load_trocr(folders[variant]).network
    assert network.encoder.config._attn_implementation == "sdpa"
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        fused = network.encoder(pixel_values=pixels).last_hidden_state
        network.encoder.set_attn_implementation("eager")
        plain = network.encoder(pixel_values=pixels).last_hidden_state
    assert torch.allclose(fused, plain, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, in itself
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch needs a compiler")
@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
def test_steps_that_transformers_compiles_write_the_same(model: Trocr):
    plain = read(model, max_tokens=12)
    # What it does on a GPU by itself. The usual backend reads its own files in the encoding of the locale.
    is_ascii = locale.getpreferredencoding(False) == "ANSI_X3.4-1968"
    compiling = CompileConfig(mode="default", backend="aot_eager" if is_ascii else "inductor")
    compiling._compile_all_devices = True
    model.network.generation_config.compile_config = compiling
    compiled = engine_of(model, info(max_tokens=12), static_cache=True)(IMAGES)
    assert hasattr(model.network, "_compiled_call")
    assert [reading.text for reading in compiled] == [reading.text for reading in plain]
