"""Adapters beside the model that they belong to: what is read, and what is refused."""

import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
from fakes import line_image, write_trocr
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import VisionEncoderDecoderModel, ViTImageProcessorPil

from quillread.errors import ModelError
from quillread.images.fit import CanvasConfig
from quillread.models.catalog import describe
from quillread.models.model_folder import ModelInfo, write_info
from quillread.models.trocr.adapter_folder import Base, digest_weights, find_base, write_base
from quillread.models.trocr.adapters import open_trocr
from quillread.models.trocr.export import export
from quillread.models.trocr.files import ADAPTERS_CONFIG_NAME, ADAPTERS_NAME, BASE_NAME
from quillread.models.trocr.loading import load_trocr
from quillread.options import ReadOptions, content_of, files_stamp
from quillread.recognize.load import load

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # PEFT 0.21 asks transformers by a name of old
CANVAS = CanvasConfig(32, 128, "pad")


def write_adapters(folder: Path, base: Path, canvas: CanvasConfig | None = None, **settings: object) -> Path:
    """Write adapters with random numbers as PEFT does, and what makes them a folder of ours."""
    network = load_trocr(base).network
    config = peft.LoraConfig(**{"r": 2, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]} | settings)
    adapted = peft.get_peft_model(network, config)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if "lora_" in name:
                value.copy_(0.1 * torch.randn(value.shape, generator=draws))
    adapted.save_pretrained(str(folder))
    write_info(ModelInfo(family="trocr", name="adapted", canvas=canvas), folder)
    write_base(Base(base.name, digest_weights(base), f"../{base.name}"), folder)
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_trocr(tmp_path / "base")


@pytest.fixture
def folder(tmp_path: Path, base: Path) -> Path:
    return write_adapters(tmp_path / "adapters", base)


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def logits(network: nn.Module, height: int = 64, width: int = 64, **options: bool) -> Tensor:
    pixels = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return network(pixel_values=pixels, decoder_input_ids=torch.tensor([[2, 5, 6]]), **options).logits


@pytest.mark.parametrize(
    ("variant", "settings"),
    [("base-handwritten", {}), ("small", {"use_rslora": True}), ("base-stage1", {"target_modules": ["fc1", "k_proj"]})],
)
def test_the_sum_is_that_of_peft(tmp_path: Path, variant: str, settings: dict[str, object]):
    base = write_trocr(tmp_path / "base", variant)
    folder = write_adapters(tmp_path / "adapters", base, **settings)
    merged = peft.PeftModel.from_pretrained(load_trocr(base).network, folder).merge_and_unload().state_dict()
    ours = open_trocr(folder).network.state_dict()
    assert ours.keys() == merged.keys()
    assert all(torch.allclose(ours[name], merged[name], atol=1e-6) for name in ours)
    plain = load_trocr(base).network.state_dict()
    changed = [name for name in ours if not torch.equal(ours[name], plain[name])]
    assert {name.split(".")[0] for name in changed} == {"encoder", "decoder"}


def test_plain_peft_and_transformers_compute_the_same(tmp_path: Path, base: Path, folder: Path):
    plain = VisionEncoderDecoderModel.from_pretrained(base)
    theirs = peft.PeftModel.from_pretrained(plain, folder).eval()
    assert torch.allclose(logits(open_trocr(folder).network), logits(theirs), atol=1e-4)


def test_the_canvas_of_the_training_is_taken(tmp_path: Path, base: Path):
    folder = write_adapters(tmp_path / "narrow", base, CANVAS)
    model = open_trocr(folder)
    assert tuple(model.network.config.encoder.image_size) == (32, 128)
    assert (model.image_processor.size["height"], model.image_processor.size["width"]) == (32, 128)
    theirs = peft.PeftModel.from_pretrained(VisionEncoderDecoderModel.from_pretrained(base), folder).eval()
    expected = logits(theirs, 32, 128, interpolate_pos_encoding=True)
    assert torch.allclose(logits(model.network, 32, 128), expected, atol=1e-4)


def test_generation_settings_of_the_folder_go_before_those_of_the_base(folder: Path, base: Path):
    shutil.copy(base / "generation_config.json", folder)
    edit_json(folder / "generation_config.json", max_length=77)
    assert open_trocr(folder).network.generation_config.max_length == 77


def test_generation_settings_that_name_code_are_refused(folder: Path, base: Path):
    shutil.copy(base / "generation_config.json", folder)
    edit_json(folder / "generation_config.json", custom_generate="some/code")
    with pytest.raises(ModelError, match=r"generation_config\.json: custom_generate"):
        open_trocr(folder)


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
def test_it_is_read_with_as_any_model(folder: Path):
    entry = describe(str(folder))
    assert (entry.info.name, entry.size) == ("adapted", (folder / ADAPTERS_NAME).stat().st_size)
    assert len(load(str(folder), threads=1).read([line_image("abc")])) == 1


def test_its_content_tells_of_its_base(folder: Path):
    before = content_of(str(folder))
    edit_json(folder / BASE_NAME, weights="other")
    assert content_of(str(folder)) != before


@pytest.mark.parametrize("name", ["preprocessor_config.json", "generation_config.json", "tokenizer_config.json"])
def test_other_files_of_its_base_are_other_content_and_another_reader(base: Path, folder: Path, name: str):
    options = ReadOptions(models=(str(folder),), lm=("none",), lines=True)
    before, stamp = content_of(str(folder)), files_stamp(options)
    assert (content_of(str(folder)), files_stamp(options)) == (before, stamp)
    edit_json(base / name, note="changed")
    assert content_of(str(folder)) != before
    assert files_stamp(options) != stamp


def test_its_content_does_not_tell_where_its_base_is(tmp_path: Path, base: Path, folder: Path):
    before = content_of(str(folder))
    (tmp_path / "elsewhere").mkdir()
    for part in (base, folder):
        part.rename(tmp_path / "elsewhere" / part.name)
    assert content_of(str(tmp_path / "elsewhere" / folder.name)) == before


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
def test_an_export_has_the_adapters_in_its_weights(tmp_path: Path, base: Path, folder: Path):
    export(describe(str(folder)), tmp_path / "exported", "float32")  # refuses what computes something else
    export(describe(str(base)), tmp_path / "plain", "float32")
    parts = [(tmp_path / name / "encoder.onnx.data").read_bytes() for name in ("exported", "plain")]
    assert parts[0] != parts[1]


def test_both_folders_can_be_moved_together(tmp_path: Path, base: Path, folder: Path):
    (tmp_path / "elsewhere").mkdir()
    for part in (base, folder):
        part.rename(tmp_path / "elsewhere" / part.name)
    assert find_base(tmp_path / "elsewhere" / "adapters") == tmp_path / "elsewhere" / "base"


def test_a_base_beside_the_adapters_is_found(tmp_path: Path, base: Path, folder: Path):
    write_base(Base("base", digest_weights(base), "../../../gone/base"), folder)
    assert find_base(folder) == base


def test_a_base_of_the_hub_is_fetched(tmp_path: Path, base: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    write_base(Base("org/name@abc", digest_weights(base)), folder)
    monkeypatch.setattr("quillread.models.trocr.adapter_folder.fetch_model", {"org/name@abc": base}.__getitem__)
    assert find_base(folder) == base


def test_a_missing_base_is_named_with_the_way_out(base: Path, folder: Path):
    shutil.rmtree(base)
    with pytest.raises(ModelError, match=r"adapters of the model base, which is not at .*\.\./base") as caught:
        open_trocr(folder)
    assert "--base MODEL" in str(caught.value.hint)


def test_another_base_is_refused(base: Path, folder: Path):
    tensors = load_file(base / "model.safetensors")
    save_file({name: value + 1 for name, value in tensors.items()}, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="has other weights than base"):
        open_trocr(folder)


def test_adapters_of_adapters_are_refused(tmp_path: Path, folder: Path):
    write_base(Base("adapters", "0", "."), folder)
    with pytest.raises(ModelError, match="holds an adapter, not a whole model"):
        open_trocr(folder)


def test_adapters_that_do_not_say_what_they_belong_to_are_refused(folder: Path):
    (folder / BASE_NAME).unlink()
    with pytest.raises(ModelError, match=r"lacks base\.json"):
        open_trocr(folder)


@pytest.mark.parametrize("content", [b"cut", None])
def test_a_broken_file_of_adapters_is_refused_before_anything_is_loaded(folder: Path, content: bytes | None):
    path = folder / ADAPTERS_NAME
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors"):
        describe(str(folder))


def name_of(folder: Path, part: str) -> str:
    """Name of the first matrix of a kind, of the encoder."""
    return min(n for n in load_file(folder / ADAPTERS_NAME) if f"lora_{part}" in n and ".encoder." in n)


def edit_tensors(folder: Path, drop: int = 0, **changes: Tensor) -> None:
    tensors = load_file(folder / ADAPTERS_NAME)
    kept = dict(sorted(tensors.items())[drop:])
    save_file(kept | changes, folder / ADAPTERS_NAME)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda folder: edit_tensors(folder, drop=2), "1 differ"),
        (lambda folder: edit_tensors(folder, drop=1), "is not a pair of matrices"),
        (lambda folder: edit_tensors(folder, **{name_of(folder, "B"): torch.ones(7, 2)}), "is for 7 x 16 weights"),
        (lambda folder: edit_tensors(folder, **{"other.weight": torch.ones(2)}), "is not a plain low-rank adapter"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(folder: Path, edit: object, message: str):
    edit(folder)  # type: ignore[operator]
    with pytest.raises(ModelError, match=message):
        open_trocr(folder)


def test_numbers_that_are_not_finite_are_refused(folder: Path):
    name = max(load_file(folder / ADAPTERS_NAME))
    edit_tensors(folder, **{name: torch.full_like(load_file(folder / ADAPTERS_NAME)[name], float("nan"))})
    with pytest.raises(ModelError, match="not finite"):
        open_trocr(folder)


@pytest.mark.filterwarnings("ignore:.*tie_word_embeddings")
def test_adapters_of_a_layer_that_shares_its_weights_are_refused(tmp_path: Path, base: Path):
    folder = write_adapters(tmp_path / "tied", base, target_modules=["q_proj", "output_projection"])
    with pytest.raises(ModelError, match=r"decoder\.output_projection, whose weights are those of another layer"):
        open_trocr(folder)


def test_adapters_of_a_wider_network_are_refused(tmp_path: Path, base: Path):
    wide = write_trocr(tmp_path / "wide", "large-handwritten")
    folder = write_adapters(tmp_path / "adapters", wide)
    write_base(Base("base", digest_weights(base), "../base"), folder)
    with pytest.raises(ModelError, match="its adapters are not those of its model's layers"):
        open_trocr(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("peft_type", "LOHA"),
        ("use_dora", True),
        ("modules_to_save", ["output_projection"]),
        ("bias", "all"),
        ("rank_pattern", {"q_proj": 4}),
        ("init_lora_weights", "pissa"),
        ("something_of_next_year", 3),
        ("r", 0),
        ("lora_alpha", None),
        ("target_modules", "all-linear"),
    ],
)
def test_other_kinds_of_adapters_are_refused(folder: Path, name: str, value: object):
    edit_json(folder / ADAPTERS_CONFIG_NAME, **{name: value})
    with pytest.raises(ModelError, match=r"adapter_config\.json: "):
        open_trocr(folder)


def test_the_image_processor_of_the_folder_is_for_plain_transformers(tmp_path: Path, base: Path):
    folder = write_adapters(tmp_path / "narrow", base, CANVAS)
    open_trocr(folder).image_processor.save_pretrained(folder)
    assert ViTImageProcessorPil.from_pretrained(folder).size == {"height": 32, "width": 128}
