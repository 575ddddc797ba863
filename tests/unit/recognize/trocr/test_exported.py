"""An exported model against the same model in torch: tensors, tokens, texts, places."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes import TROCR_VARIANTS, line_image, write_trocr
from liveliness import lively

from quillread.decode.hypothesis import Hypothesis
from quillread.errors import ModelError, UsageError
from quillread.images.fit import CanvasConfig
from quillread.models.catalog import describe
from quillread.models.model_folder import ModelInfo
from quillread.models.trocr import onnx_network
from quillread.models.trocr.export import compare, export, find_facts
from quillread.models.trocr.loading import Trocr, load_trocr
from quillread.models.trocr.onnx_folder import DECODER_NAME, ENCODER_NAME, TOKENIZER_NAME, WeightType
from quillread.models.trocr.onnx_network import Next, OnnxTrocr
from quillread.models.trocr.pixels import set_canvas
from quillread.models.trocr.settings import GenerateChanges, GenerateConfig
from quillread.recognize.load import load
from quillread.recognize.trocr.drafts import nearest_prefix
from quillread.recognize.trocr.engine import Ranking, TrocrEngine
from quillread.recognize.trocr.onnx_backend import ExportedTrocr
from quillread.recognize.trocr.torch_backend import TorchTrocr
from quillread.types import UInt8Image

IMAGES = [
    line_image(text, height)
    for text, height in (
        ("a", 30), ("some words here", 40), ("", 20), ("the end.", 64), ("and more of them, too", 33), ("x y", 25),
        ("Numbers 1 2 3", 40), ("who knows", 48), ("one more", 31), ("and the last one of them", 36),
    )
]  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "nothing": {},
    "length": {"max_length": 20},
    "new tokens": {"max_new_tokens": 7},
    "beams": {"num_beams": 4, "max_length": 16},
    "beams, early": {"num_beams": 4, "early_stopping": True, "length_penalty": 2.0, "max_length": 24},
    "beams, never": {"num_beams": 3, "early_stopping": "never", "length_penalty": 0.7, "max_length": 24},
    "beams, long": {"num_beams": 5, "length_penalty": -0.5, "max_length": 40},
    "no repeats": {"no_repeat_ngram_size": 3, "max_length": 40},
    "beams, no repeats": {"num_beams": 3, "no_repeat_ngram_size": 2, "length_penalty": 0.5, "max_length": 20},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("trocr")
    return {variant: write_trocr(root / variant, variant) for variant in TROCR_VARIANTS}


@pytest.fixture(scope="module")
def exports(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Lively models and their exports."""
    root = tmp_path_factory.mktemp("exports")
    for variant, folder in folders.items():
        write_export(lively_of(folder), root / variant)
    return {variant: root / variant for variant in folders}


def lively_of(folder: Path) -> Trocr:
    model = load_trocr(folder)
    return lively(model)


def write_export(model: Trocr, folder: Path, weights: WeightType = "float32") -> Path:
    from quillread.models.model_folder import write_info
    from quillread.models.trocr.onnx_export import write_networks
    from quillread.models.trocr.onnx_folder import write_facts

    folder.mkdir(parents=True, exist_ok=True)
    write_networks(model, folder, weights)
    model.tokenizer.backend_tokenizer.save(str(folder / TOKENIZER_NAME))
    write_facts(find_facts(model, weights), folder)
    write_info(ModelInfo(family="trocr", name="tiny"), folder)
    return folder


def read_both(
    model: Trocr, folder: Path, images: Sequence[UInt8Image] = IMAGES, rank: Ranking | None = None, **values: Any
) -> tuple[list[Hypothesis], list[Hypothesis]]:
    info = ModelInfo(family="trocr", name="tiny", generate=GenerateConfig(**values))
    backends = TorchTrocr(model, info.generate), ExportedTrocr(OnnxTrocr(folder, 1), info.generate)
    return tuple(TrocrEngine(backend, info, rank)(images) for backend in backends)  # type: ignore[return-value]


def same(found: Sequence[Hypothesis], wanted: Sequence[Hypothesis]) -> None:
    assert [reading.text for reading in found] == [reading.text for reading in wanted]
    for mine, other in zip(found, wanted, strict=True):
        assert mine.log_probability == pytest.approx(other.log_probability, abs=1e-3)
        assert [text for text, _ in mine.alternatives] == [text for text, _ in other.alternatives]
        for a, b in zip(mine.emissions, other.emissions, strict=True):
            assert a.text == b.text
            assert (a.probability, a.start, a.stop) == pytest.approx((b.probability, b.start, b.stop), abs=1e-2)


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
    assert (tmp_path / DECODER_NAME).stat().st_size < 0.6 * (plain / DECODER_NAME).stat().st_size


def test_with_eight_bits_a_line_is_read_alike_whatever_is_read_beside_it(folders: dict[str, Path], tmp_path: Path):
    write_export(lively_of(folders["base-handwritten"]), tmp_path, "int8")
    config = GenerateConfig(max_tokens=20)
    engine = TrocrEngine(ExportedTrocr(OnnxTrocr(tmp_path, 1), config), ModelInfo("trocr", "tiny", generate=config))
    together = engine(IMAGES)
    same([reading for image in IMAGES for reading in engine([image])], together)


@pytest.mark.parametrize("name", [ENCODER_NAME, DECODER_NAME, TOKENIZER_NAME, "trocr.json"])
@pytest.mark.parametrize("damage", ["cut", "none"])
def test_a_damaged_file_is_named(exports: dict[str, Path], tmp_path: Path, name: str, damage: str):
    copy(exports["small"], tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    if damage == "cut":
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=name if (name, damage) != ("trocr.json", "none") else r"trocr\.json"):
        OnnxTrocr(tmp_path, 1)


def test_files_of_two_exports_are_told_apart(exports: dict[str, Path], tmp_path: Path):
    copy(exports["small"], tmp_path)
    (tmp_path / DECODER_NAME).write_bytes((exports["base-handwritten"] / DECODER_NAME).read_bytes())
    with pytest.raises(ModelError, match="do not belong together"):
        OnnxTrocr(tmp_path, 1)


def test_an_export_of_another_version_is_refused(exports: dict[str, Path], tmp_path: Path):
    copy(exports["small"], tmp_path)
    path = tmp_path / "trocr.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"format": 1', '"format": 2'), encoding="utf-8")
    with pytest.raises(ModelError, match="format 2"):
        OnnxTrocr(tmp_path, 1)


def test_a_processor_without_the_instructions_is_warned_of(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    write_export(lively_of(folders["small"]), tmp_path, "int8")
    monkeypatch.setattr(onnx_network, "multiplies_whole_numbers", lambda: False)
    OnnxTrocr(tmp_path, 1)
    assert "--weights float32" in caplog.text


def test_another_precision_of_an_export_is_refused(exports: dict[str, Path]):
    with pytest.raises(UsageError, match="the numbers that it was exported with"):
        load(str(exports["small"]), generate=GenerateChanges(precision="bf16"))
    with pytest.raises(UsageError, match="has its own cache"):
        load(str(exports["small"]), generate=GenerateChanges(static_cache=True))


@pytest.mark.parametrize("name", ["repetition_penalty", "min_length", "forced_eos_token_id"])
def test_settings_that_are_not_known_are_refused(folders: dict[str, Path], name: str):
    model = load_trocr(folders["base-handwritten"])
    model.network.generation_config.update(**{name: 2})
    with pytest.raises(ModelError, match=name):
        find_facts(model, "float32")


def test_an_interrupted_export_leaves_nothing(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("quillread.models.trocr.export.write_facts", stop)
    with pytest.raises(KeyboardInterrupt):
        export(describe(str(folders["small"])), tmp_path / "out", "float32")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
def test_an_exported_folder_is_a_model_like_any_other(folders: dict[str, Path], tmp_path: Path):
    source = folders["base-handwritten"]
    export(describe(str(source)), tmp_path / "out", "float32")
    entry = describe(str(tmp_path / "out"))
    assert entry.info.family == "trocr" and entry.size > 0
    read = [load(str(folder), threads=1).read(IMAGES) for folder in (source, tmp_path / "out")]
    assert [line.text for line in read[0]] == [line.text for line in read[1]]


def copy(source: Path, target: Path) -> None:
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())


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
