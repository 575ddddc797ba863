from pathlib import Path

import pytest
import torch
from fakes import write_bpe_tokenizer
from transformers import RobertaTokenizer, VisionEncoderDecoderModel, ViTImageProcessorPil

from quillread.errors import ModelError
from quillread.images.fit import CanvasConfig
from quillread.models.trocr.loading import load_trocr, save_trocr
from quillread.models.trocr.scratch import make_byte_tokenizer, new_trocr
from quillread.models.trocr.settings import TrocrShape
from quillread.text.tokenizer import encode_text

SHAPE = TrocrShape(
    encoder_width=16,
    encoder_layers=1,
    encoder_heads=2,
    decoder_width=24,
    decoder_layers=1,
    decoder_heads=2,
    patch_width=8,
    max_positions=12,
)
CANVAS = CanvasConfig(height=32, width=128, fit="pad")


def test_plain_transformers_loads_it_whole(tmp_path: Path):
    model = new_trocr(SHAPE, CANVAS, None, seed=0)
    save_trocr(model, tmp_path / "new")
    plain, report = VisionEncoderDecoderModel.from_pretrained(tmp_path / "new", output_loading_info=True)
    assert not any(report.values())
    state = plain.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.network.state_dict().items())


def test_its_processor_is_loaded_by_plain_transformers(tmp_path: Path):
    save_trocr(new_trocr(SHAPE, CANVAS, None, seed=0), tmp_path / "new")
    assert RobertaTokenizer.from_pretrained(tmp_path / "new").decode([2]) == "</s>"
    assert dict(ViTImageProcessorPil.from_pretrained(tmp_path / "new").size) == {"height": 32, "width": 128}


def test_it_comes_back_whole(tmp_path: Path):
    model = new_trocr(SHAPE, CANVAS, None, seed=0)
    save_trocr(model, tmp_path / "new")
    before, after = model.network.state_dict(), load_trocr(tmp_path / "new").network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_it_generates_as_many_tokens_as_it_has_positions():
    network = new_trocr(SHAPE, CANVAS, None, seed=0).network
    network.generation_config.eos_token_id = None
    assert network.generate(torch.zeros(1, 3, 32, 128)).shape == (1, SHAPE.max_positions)


def test_lines_start_with_the_end_token():
    network = new_trocr(SHAPE, CANVAS, None, seed=0).network
    assert network.generation_config.decoder_start_token_id == network.config.decoder_start_token_id == 2
    assert (network.config.pad_token_id, network.generation_config.eos_token_id) == (1, 2)


def test_a_training_step_reaches_every_weight_but_the_poolers():
    network = new_trocr(SHAPE, CANVAS, None, seed=0).network
    network(pixel_values=torch.rand(2, 3, 32, 128), labels=torch.tensor([[5, 6, 2], [7, 2, -100]])).loss.backward()
    still = {name for name, p in network.named_parameters() if p.grad is None}
    assert still == {"encoder.pooler.dense.weight", "encoder.pooler.dense.bias"}


def test_the_seed_decides_the_weights_and_nothing_else():
    state = torch.random.get_rng_state()
    first, second, other = (new_trocr(SHAPE, CANVAS, None, seed).network.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(*(w["decoder.model.decoder.embed_tokens.weight"] for w in (first, other)))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_byte_tokenizer_spells_every_text():
    tokenizer = make_byte_tokenizer()
    text = "Œuvre – 5 £\t\N{GRINNING FACE}\x00"
    ids = encode_text(tokenizer, text)
    assert len(ids) == len(text.encode()) + 1
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_a_given_tokenizer_is_used(tmp_path: Path):
    model = new_trocr(SHAPE, CANVAS, write_bpe_tokenizer(tmp_path), seed=0)
    assert model.network.config.decoder.vocab_size == len(model.tokenizer) > 261


def test_a_canvas_of_parts_of_patches_is_refused():
    with pytest.raises(ModelError, match="32 x 100 pixels is not made of whole patches of 16 x 8"):
        new_trocr(SHAPE, CanvasConfig(height=32, width=100), None, seed=0)
