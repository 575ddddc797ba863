"""An exported model against the same model in torch: tensors, tokens, texts, places."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from exports import IMAGES, lively_of, same, write_export
from fakes import TROCR_VARIANTS

from quillread.decode.hypothesis import Hypothesis
from quillread.errors import ModelError
from quillread.images.fit import CanvasConfig
from quillread.models.catalog import describe
from quillread.models.model_folder import ModelInfo
from quillread.models.trocr import onnx_network
from quillread.models.trocr.export import compare, export, find_facts
from quillread.models.trocr.loading import Trocr, load_trocr
from quillread.models.trocr.onnx_folder import DECODER_NAME
from quillread.models.trocr.onnx_network import OnnxTrocr
from quillread.models.trocr.pixels import set_canvas
from quillread.models.trocr.settings import GenerateConfig
from quillread.recognize.load import load
from quillread.recognize.trocr.engine import Ranking, TrocrEngine
from quillread.recognize.trocr.onnx_backend import ExportedTrocr
from quillread.recognize.trocr.torch_backend import TorchTrocr
from quillread.types import UInt8Image

OWN: dict[str, dict[str, Any]] = {
    "nothing": {},
    "length": {"max_length": 20},
    "new tokens": {"max_new_tokens": 7},
    "beams": {"num_beams": 4, "max_length": 16},
    "beams, early": {"num_beams": 4, "early_stopping": True, "length_penalty": 2.0, "max_length": 24},
    "beams, never": {"num_beams": 3, "early_stopping": "never", "length_penalty": 0.7, "max_length": 24},
    "beams, long": {"num_beams": 5, "length_penalty": -0.5, "max_length": 40},
    "no repeats": {"no_repeat_ngram_size": 3, "max_length": 40},
    "many beams": {"num_beams": 8, "max_length": 24},
    "beams, no repeats": {"num_beams": 3, "no_repeat_ngram_size": 2, "length_penalty": 0.5, "max_length": 20},
}


def read_both(
    model: Trocr, folder: Path, images: Sequence[UInt8Image] = IMAGES, rank: Ranking | None = None, **values: Any
) -> tuple[list[Hypothesis], list[Hypothesis]]:
    info = ModelInfo(family="trocr", name="tiny", generate=GenerateConfig(**values))
    backends = TorchTrocr(model, info.generate), ExportedTrocr(OnnxTrocr(folder, 1), info.generate)
    return tuple(TrocrEngine(backend, info, rank)(images) for backend in backends)  # type: ignore[return-value]


@pytest.mark.parametrize("variant", TROCR_VARIANTS)
def test_every_variant_computes_what_torch_computes(folders: dict[str, Path], exports: dict[str, Path], variant: str):
    assert compare(lively_of(folders[variant]), OnnxTrocr(exports[variant], 1)) < 1e-4


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
@pytest.mark.parametrize("variant", TROCR_VARIANTS)
def test_every_variant_is_read_alike(folders: dict[str, Path], exports: dict[str, Path], variant: str):
    same(*read_both(lively_of(folders[variant]), exports[variant], max_tokens=25)[::-1])


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
@pytest.mark.parametrize("settings", OWN.values(), ids=OWN)
def test_settings_of_the_model_are_followed(folders: dict[str, Path], tmp_path: Path, settings: dict[str, Any]):
    model = lively_of(folders["base-handwritten"])
    model.network.generation_config.update(**settings)
    same(*read_both(model, write_export(model, tmp_path))[::-1])


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
@pytest.mark.parametrize(
    "values",
    [
        {"beams": 4, "alternatives": 3, "max_tokens": 15},
        {"max_tokens": 60},
        {"max_tokens": 40, "no_repeat_ngram_size": 2},
        {"beams": 3, "max_tokens": 24, "length_penalty": -2.0},
        {"beams": 3, "max_tokens": 24, "length_penalty": 3.0, "no_repeat_ngram_size": 3},
    ],
)
def test_what_is_asked_for_is_followed(folders: dict[str, Path], exports: dict[str, Path], values: dict[str, Any]):
    model = lively_of(folders["base-handwritten"])
    same(*read_both(model, exports["base-handwritten"], **values)[::-1])


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
@pytest.mark.parametrize("beams", [1, 8])
def test_alternatives_come_from_the_search_of_the_model(folders: dict[str, Path], tmp_path: Path, beams: int):
    model = lively_of(folders["base-handwritten"])
    model.network.generation_config.update(num_beams=beams, max_length=24)
    same(*read_both(model, write_export(model, tmp_path), alternatives=2)[::-1])


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
def test_a_ranking_sees_the_same_readings(folders: dict[str, Path], exports: dict[str, Path]):
    def last_first(readings: Sequence[Hypothesis]) -> list[Hypothesis]:
        return sorted(readings, key=lambda reading: reading.text)

    model = lively_of(folders["base-handwritten"])
    same(*read_both(model, exports["base-handwritten"], rank=last_first, max_tokens=12)[::-1])


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
@pytest.mark.parametrize("lines", [1, 3])
@pytest.mark.parametrize("values", [{}, {"beams": 3}])
def test_lines_that_leave_early_change_nothing_in_others(
    folders: dict[str, Path], exports: dict[str, Path], monkeypatch: pytest.MonkeyPatch, lines: int, values: Any
):
    monkeypatch.setattr("quillread.recognize.trocr.onnx_backend._MOST_LINES", lines)
    model = lively_of(folders["base-handwritten"])
    same(*read_both(model, exports["base-handwritten"], max_tokens=30, **values)[::-1])


@pytest.mark.parametrize("canvas", [(32, 96), (64, 32)])
def test_another_canvas_is_exported_as_it_is(folders: dict[str, Path], tmp_path: Path, canvas: tuple[int, int]):
    model = lively_of(folders["small"])
    set_canvas(model, *canvas)
    exported = OnnxTrocr(write_export(model, tmp_path), 1)
    assert compare(model, exported) < 1e-4
    assert ExportedTrocr(exported, GenerateConfig()).canvas == CanvasConfig(*canvas)


def test_eight_bits_say_nearly_the_same(folders: dict[str, Path], tmp_path: Path):
    model = lively_of(folders["base-handwritten"])
    write_export(model, tmp_path, "int8")
    assert 0 < compare(model, OnnxTrocr(tmp_path, 1)) < 1.5
    plain = write_export(model, tmp_path / "plain")
    name = f"{DECODER_NAME}.data"
    assert (tmp_path / name).stat().st_size < 0.6 * (plain / name).stat().st_size


def test_with_eight_bits_a_line_is_read_alike_whatever_is_read_beside_it(folders: dict[str, Path], tmp_path: Path):
    write_export(lively_of(folders["base-handwritten"]), tmp_path, "int8")
    config = GenerateConfig(max_tokens=20)
    engine = TrocrEngine(ExportedTrocr(OnnxTrocr(tmp_path, 1), config), ModelInfo("trocr", "tiny", generate=config))
    together = engine(IMAGES)
    same([reading for image in IMAGES for reading in engine([image])], together)


def test_a_processor_without_the_instructions_is_warned_of(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    write_export(lively_of(folders["small"]), tmp_path, "int8")
    monkeypatch.setattr(onnx_network, "multiplies_whole_numbers", lambda: False)
    OnnxTrocr(tmp_path, 1)
    assert "--weights float32" in caplog.text


@pytest.mark.parametrize("name", ["repetition_penalty", "min_length", "forced_eos_token_id"])
def test_settings_that_are_not_known_are_refused(folders: dict[str, Path], name: str):
    model = load_trocr(folders["base-handwritten"])
    model.network.generation_config.update(**{name: 2})
    with pytest.raises(ModelError, match=name):
        find_facts(model, "float32")


SPACED = "it 's the end . is n't it , or ' so ' ? I 'm not ! we 've and you 're ."


@pytest.mark.parametrize(
    ("variant", "flags"),
    [
        ("small", ("clean_up_tokenization_spaces",)),
        ("small", ()),
        ("base-handwritten", ("clean_up_tokenization_spaces",)),
        (
            "base-handwritten",
            (
                "clean_up_tokenization_spaces",
                "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
            ),
        ),
        ("base-handwritten", ("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",)),
    ],
)
def test_tokens_are_spelt_as_transformers_spells_them(
    folders: dict[str, Path], tmp_path: Path, variant: str, flags: tuple[str, ...]
):
    model = load_trocr(folders[variant])
    for flag in flags:
        setattr(model.tokenizer, flag, True)
    tokens = model.tokenizer.encode(SPACED)
    starts = [tokens[:stop] for stop in range(len(tokens) + 1)]
    config = GenerateConfig()
    exported = ExportedTrocr(OnnxTrocr(write_export(model, tmp_path), 1), config)
    assert exported.spell(starts) == TorchTrocr(model, config).spell(starts)
    is_cleaned = len(flags) == 2 or (variant, len(flags)) == ("small", 1)
    assert (exported.spell([tokens])[0] == SPACED) != is_cleaned


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
def test_an_exported_folder_is_a_model_like_any_other(folders: dict[str, Path], tmp_path: Path):
    source = folders["base-handwritten"]
    export(describe(str(source)), tmp_path / "out", "float32")
    entry = describe(str(tmp_path / "out"))
    assert entry.info.family == "trocr" and entry.size > 0
    read = [load(str(folder), threads=1).read(IMAGES) for folder in (source, tmp_path / "out")]
    assert [line.text for line in read[0]] == [line.text for line in read[1]]
