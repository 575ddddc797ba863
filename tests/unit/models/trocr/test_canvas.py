from pathlib import Path

import pytest
import torch
from fakes import write_trocr
from torch import Tensor
from transformers import VisionEncoderDecoderModel

from quillread.errors import ModelError
from quillread.models.trocr.loading import load_trocr, save_trocr
from quillread.models.trocr.pixels import set_canvas

CASES = [("base-handwritten", 96, 96), ("base-handwritten", 32, 128), ("small", 64, 48)]


def logits(network: torch.nn.Module, height: int, width: int, **options: bool) -> Tensor:
    pixels = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return network(pixel_values=pixels, decoder_input_ids=torch.tensor([[2, 5, 6]]), **options).logits


@pytest.mark.parametrize(("variant", "height", "width"), CASES)
def test_positions_are_those_of_transformers(tmp_path: Path, variant: str, height: int, width: int):
    folder = write_trocr(tmp_path, variant)
    expected = logits(load_trocr(folder).network, height, width, interpolate_pos_encoding=True)
    model = load_trocr(folder)
    set_canvas(model, height, width)
    assert torch.allclose(logits(model.network, height, width), expected, atol=1e-5)


@pytest.mark.parametrize(("variant", "height", "width"), CASES)
def test_the_saved_folder_loads_at_the_new_size(tmp_path: Path, variant: str, height: int, width: int):
    model = load_trocr(write_trocr(tmp_path / "old", variant))
    set_canvas(model, height, width)
    save_trocr(model, tmp_path / "new")
    expected = logits(model.network, height, width)
    assert torch.equal(logits(load_trocr(tmp_path / "new").network, height, width), expected)
    assert torch.equal(logits(VisionEncoderDecoderModel.from_pretrained(tmp_path / "new"), height, width), expected)


def test_the_image_processor_makes_images_of_the_new_size(tmp_path: Path):
    model = load_trocr(write_trocr(tmp_path))
    set_canvas(model, 32, 128)
    image = torch.zeros(3, 40, 100, dtype=torch.uint8).numpy()
    assert model.image_processor(image, return_tensors="pt")["pixel_values"].shape == (1, 3, 32, 128)


def test_a_canvas_can_be_changed_twice(tmp_path: Path):
    model = load_trocr(write_trocr(tmp_path))
    set_canvas(model, 32, 128)
    set_canvas(model, 64, 96)
    assert logits(model.network, 64, 96).isfinite().all()


def test_the_canvas_it_has_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    model = load_trocr(write_trocr(tmp_path))
    before = model.network.encoder.embeddings.position_embeddings
    set_canvas(model, 64, 64)
    assert model.network.encoder.embeddings.position_embeddings is before


def test_the_change_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    model = load_trocr(write_trocr(tmp_path))
    with caplog.at_level("INFO"):
        set_canvas(model, 32, 128)
    assert "canvas 32 x 128 instead of 64 x 64: positions interpolated from 4 x 4 patches to 2 x 8" in caplog.text


@pytest.mark.parametrize(("height", "width"), [(64, 100), (0, 64), (-16, 64)])
def test_parts_of_patches_are_refused(tmp_path: Path, height: int, width: int):
    model = load_trocr(write_trocr(tmp_path))
    with pytest.raises(ModelError, match="is not made of whole patches of 16 x 16"):
        set_canvas(model, height, width)


def test_an_encoder_with_other_positions_is_refused(tmp_path: Path):
    model = load_trocr(write_trocr(tmp_path))
    model.network.config.encoder.model_type = "swin"
    with pytest.raises(ModelError, match="the canvas of a 'swin' encoder cannot be changed"):
        set_canvas(model, 32, 128)
