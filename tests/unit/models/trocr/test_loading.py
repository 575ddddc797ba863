import json
import logging
from pathlib import Path

import pytest
import torch
import transformers
from fakes import TROCR_VARIANTS, published_name, write_trocr
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    BertConfig,
    DeiTImageProcessorPil,
    GPT2Config,
    RobertaConfig,
    RobertaTokenizer,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessorPil,
    XLMRobertaTokenizer,
)

from quillread.errors import ModelError, OutputError
from quillread.models.trocr.loading import load_trocr, save_trocr

LEARNED = ("small", "base-handwritten", "large-handwritten")
WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_trocr(tmp_path / "model")


def logits(network: torch.nn.Module) -> Tensor:
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[2, 5, 6, 7], [2, 9, 8, 4]])
    with torch.no_grad():
        return network(pixel_values=pixels, decoder_input_ids=tokens).logits


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def edit_weights(folder: Path, drop: str = "", **changes: Tensor) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file({k: v for k, v in weights.items() if k != drop} | changes, folder / WEIGHTS, {"format": "pt"})


def build_by_hand(folder: Path) -> torch.nn.Module:
    """The network of a folder, its weights copied one by one from the file."""
    network = VisionEncoderDecoderModel(
        VisionEncoderDecoderConfig(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
    )
    weights = load_file(folder / WEIGHTS)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not name.startswith("encoder.pooler"):
                parameter.copy_(weights[published_name(name)])
    return network.eval()


@pytest.mark.parametrize("variant", TROCR_VARIANTS)
def test_every_tensor_of_a_published_file_is_loaded(tmp_path: Path, variant: str):
    folder = write_trocr(tmp_path, variant)
    file = load_file(folder / WEIGHTS)
    network = load_trocr(folder).network
    loaded = {published_name(name): tensor for name, tensor in network.named_parameters()}
    assert set(loaded) == {name for name in file if not name.endswith("_float_tensor")}
    assert all(torch.equal(tensor, file[name]) for name, tensor in loaded.items())


@pytest.mark.parametrize("variant", TROCR_VARIANTS)
def test_the_output_is_that_of_a_network_built_by_hand(tmp_path: Path, variant: str):
    folder = write_trocr(tmp_path, variant)
    assert torch.equal(logits(load_trocr(folder).network), logits(build_by_hand(folder)))


@pytest.mark.parametrize("variant", LEARNED)
def test_a_folder_reads_as_plain_transformers_reads_it(tmp_path: Path, variant: str):
    folder = write_trocr(tmp_path, variant)
    plain = VisionEncoderDecoderModel.from_pretrained(folder)
    network = load_trocr(folder).network
    assert torch.equal(logits(network), logits(plain))
    assert network.generation_config == plain.generation_config


@pytest.mark.parametrize("variant", TROCR_VARIANTS)
def test_every_tensor_comes_back_after_saving(tmp_path: Path, variant: str):
    model = load_trocr(write_trocr(tmp_path / "published", variant))
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(1)
    save_trocr(model, tmp_path / "saved")
    assert len({path.stat().st_mode for path in (tmp_path / "saved").iterdir()}) == 1, "others may read it all or none"
    before, after = model.network.state_dict(), load_trocr(tmp_path / "saved").network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("variant", LEARNED)
def test_plain_transformers_loads_a_saved_folder(tmp_path: Path, variant: str):
    model = load_trocr(write_trocr(tmp_path / "published", variant))
    save_trocr(model, tmp_path / "saved")
    plain, report = VisionEncoderDecoderModel.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert report["missing_keys"] == {"encoder.pooler.dense.weight", "encoder.pooler.dense.bias"}
    assert not report["unexpected_keys"]
    assert torch.equal(logits(plain), logits(model.network))


@pytest.mark.parametrize(
    ("variant", "tokenizer", "processor"),
    [
        ("small", XLMRobertaTokenizer, DeiTImageProcessorPil),
        ("base-handwritten", RobertaTokenizer, ViTImageProcessorPil),
    ],
)
def test_the_processor_is_saved_with_the_model(tmp_path: Path, variant: str, tokenizer: type, processor: type):
    model = load_trocr(write_trocr(tmp_path / "published", variant))
    save_trocr(model, tmp_path / "saved")
    assert tokenizer.from_pretrained(tmp_path / "saved").get_vocab() == model.tokenizer.get_vocab()
    assert processor.from_pretrained(tmp_path / "saved").to_dict() == model.image_processor.to_dict()


def test_sinusoidal_positions_follow_the_network(tmp_path: Path):
    network = load_trocr(write_trocr(tmp_path, "base-stage1")).network.to(torch.float64)
    assert network.decoder.model.decoder.embed_positions.weights.dtype == torch.float64


def test_weights_are_float32_whatever_the_file_holds(folder: Path):
    save_file({k: v.half() for k, v in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS, {"format": "pt"})
    edit_json(folder / "config.json", torch_dtype="float16")
    assert {p.dtype for p in load_trocr(folder).network.parameters()} == {torch.float32}


def test_a_pooler_in_the_file_is_kept_but_not_trained(folder: Path):
    pooler = {"encoder.pooler.dense.weight": torch.ones(16, 16), "encoder.pooler.dense.bias": torch.ones(16)}
    edit_weights(folder, **pooler)
    parts = dict(load_trocr(folder).network.encoder.pooler.named_parameters())
    assert all(torch.equal(p, torch.ones_like(p)) and not p.requires_grad for p in parts.values())


def test_two_tensors_that_differ_are_not_tied(folder: Path):
    head = torch.randn(load_file(folder / WEIGHTS)["decoder.model.decoder.embed_tokens.weight"].shape)
    edit_weights(folder, **{"decoder.output_projection.weight": head})
    assert torch.equal(load_trocr(folder).network.decoder.output_projection.weight, head)


def test_a_training_starts_lines_as_reading_does(folder: Path):
    config = load_trocr(folder).network.config
    assert (config.decoder_start_token_id, config.pad_token_id) == (2, 1)


def test_generation_settings_in_the_configuration_move_to_where_they_belong(folder: Path, tmp_path: Path):
    (folder / "generation_config.json").unlink()
    edit_json(folder / "config.json", num_beams=4, max_length=64, early_stopping=True, decoder_start_token_id=2)
    save_trocr(load_trocr(folder), tmp_path / "saved")
    settings = load_trocr(tmp_path / "saved").network.generation_config
    assert (settings.num_beams, settings.max_length, settings.decoder_start_token_id) == (4, 64, 2)


def test_a_model_that_says_no_start_token_is_refused(folder: Path):
    (folder / "generation_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="does not say which token starts a line"):
        load_trocr(folder)


def test_loading_is_silent(folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]):
    with caplog.at_level(logging.INFO):
        load_trocr(folder)
    assert (caplog.text, *capfd.readouterr()) == ("", "", "")
    assert transformers.utils.logging.is_progress_bar_enabled()


@pytest.mark.parametrize(
    "decoder",
    [
        BertConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32),
        RobertaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32),
        GPT2Config(vocab_size=300, n_embd=24, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=2),
    ],
    ids=lambda config: config.model_type,
)
def test_other_decoders_load_and_come_back(folder: Path, decoder: transformers.PreTrainedConfig):
    encoder = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=64)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    network = VisionEncoderDecoderModel(config).eval()
    settings = (folder / "generation_config.json").read_bytes()
    network.save_pretrained(folder)
    (folder / "generation_config.json").write_bytes(settings)
    save_trocr(load_trocr(folder), folder)
    loaded = load_trocr(folder).network
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert torch.equal(logits(loaded), logits(network))


def test_missing_extra_and_misshapen_tensors_are_listed(folder: Path):
    edit_weights(
        folder,
        "encoder.encoder.layer.0.output.dense.weight",
        foo=torch.zeros(2),
        **{"encoder.embeddings.cls_token": torch.zeros(1, 1, 3)},
    )
    with pytest.raises(ModelError) as caught:
        load_trocr(folder)
    assert caught.value.message.endswith(
        "1 missing: encoder.layers.0.mlp.fc2.weight; 1 not known: foo; "
        "1 of another shape: encoder.embeddings.cls_token (1, 1, 3) instead of (1, 1, 16)"
    )
    assert "allow_partial=true" in (caught.value.hint or "")


def test_a_partial_model_is_loaded_on_request(folder: Path, caplog: pytest.LogCaptureFixture):
    edit_weights(folder, "encoder.encoder.layer.0.output.dense.weight")
    network = load_trocr(folder, allow_partial=True).network
    assert torch.isfinite(network.encoder.layers[0].mlp.fc2.weight).all()
    assert "loaded in part: 1 missing: encoder.layers.0.mlp.fc2.weight" in caplog.text


@pytest.mark.parametrize("partial", [False, True])
def test_pickled_weights_are_refused(tmp_path: Path, partial: bool):
    folder = write_trocr(tmp_path, pickled=True)
    with pytest.raises(ModelError, match="as a pickle") as caught:
        load_trocr(folder, allow_partial=partial)
    assert caught.value.hint == f"turn them into safetensors: quill models convert {folder} DEST"


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("size", [0, 5, 500, -100])
def test_a_file_cut_short_is_refused(folder: Path, size: int, partial: bool):
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:size])
    with pytest.raises(ModelError, match=rf"{WEIGHTS}: (is damaged|cannot be read)"):
        load_trocr(folder, allow_partial=partial)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", "lacks config.json"),
        (WEIGHTS, f"lacks its weights, {WEIGHTS}"),
        ("preprocessor_config.json", "has no image processor"),
    ],
)
def test_a_missing_file_is_named(folder: Path, name: str, message: str):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=message):
        load_trocr(folder)


def test_another_kind_of_model_is_refused(folder: Path):
    edit_json(folder / "config.json", model_type="bert")
    with pytest.raises(ModelError, match="holds a model of type 'bert'"):
        load_trocr(folder)


def test_an_unknown_encoder_is_refused(folder: Path):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    edit_json(folder / "config.json", encoder=config["encoder"] | {"model_type": "no-such"})
    with pytest.raises(ModelError, match=r"cannot be loaded: .*no-such"):
        load_trocr(folder)


def test_an_adapter_is_no_whole_model(folder: Path):
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="holds an adapter"):
        load_trocr(folder)


def test_an_image_processor_without_a_type_is_refused(folder: Path):
    edit_json(folder / "preprocessor_config.json", feature_extractor_type=None, image_processor_type=None)
    with pytest.raises(ModelError, match="does not say of which type it is"):
        load_trocr(folder)


@pytest.mark.parametrize("change", [{"size": {"shortest_edge": 64}}, {"do_resize": False}])
def test_an_image_processor_that_makes_no_fixed_size_is_refused(folder: Path, change: dict[str, object]):
    edit_json(folder / "preprocessor_config.json", **change)
    with pytest.raises(ModelError, match="makes images of any shape, its encoder takes 64 x 64"):
        load_trocr(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float):
    tensors = load_file(folder / WEIGHTS)
    name = next(name for name in tensors if name.endswith("fc1.weight"))
    tensors[name][0, 0] = value
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(ModelError, match=f"weights are not finite numbers: {name}"):
        load_trocr(folder)


@pytest.mark.parametrize("name", ["FancyImageProcessor", "os.path"])
def test_an_unknown_image_processor_is_refused(folder: Path, name: str):
    edit_json(folder / "preprocessor_config.json", feature_extractor_type=name)
    with pytest.raises(ModelError, match=f"its image processor '{name}' is not known"):
        load_trocr(folder)


def test_an_image_processor_inside_a_processor_is_found(folder: Path):
    path = folder / "preprocessor_config.json"
    (folder / "processor_config.json").write_text(
        json.dumps({"image_processor": json.loads(path.read_text(encoding="utf-8"))}), encoding="utf-8"
    )
    path.unlink()
    assert load_trocr(folder).image_processor.size.height == 64


def test_an_image_processor_of_another_model_is_refused(folder: Path):
    edit_json(folder / "preprocessor_config.json", size=224)
    with pytest.raises(ModelError, match="makes images of 224 x 224 pixels, its encoder takes 64 x 64"):
        load_trocr(folder)


def test_a_tokenizer_with_more_pieces_than_the_decoder_is_refused(folder: Path):
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    edit_json(folder / "vocab.json", more=len(vocabulary))
    with pytest.raises(ModelError, match=f"its tokenizer has {len(vocabulary) + 1} pieces"):
        load_trocr(folder)


def test_the_tokenizer_of_another_model_is_refused(folder: Path):
    model = load_trocr(folder)
    model.network.decoder.resize_token_embeddings(len(model.tokenizer) + 300)
    save_trocr(model, folder)
    with pytest.raises(ModelError, match="not of one model"):
        load_trocr(folder)


def test_a_saved_model_is_read_with_its_cache(folder: Path):
    settings = json.loads((folder / "generation_config.json").read_text("utf-8"))
    (folder / "generation_config.json").write_text(json.dumps(settings | {"use_cache": False}), "utf-8")
    save_trocr(load_trocr(folder), folder)
    assert json.loads((folder / "generation_config.json").read_text("utf-8"))["use_cache"] is True
    assert VisionEncoderDecoderModel.from_pretrained(folder).generation_config.use_cache is True


def test_saving_keeps_what_is_not_of_the_model(folder: Path):
    model = load_trocr(folder)
    (folder / "optimizer.pt").write_bytes(b"state")
    (folder / "pytorch_model.bin").write_bytes(b"stale")
    save_trocr(model, folder)
    assert (folder / "optimizer.pt").read_bytes() == b"state"
    assert not (folder / "pytorch_model.bin").exists()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_an_interrupted_save_leaves_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch):
    model = load_trocr(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(model.image_processor, "save_pretrained", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_trocr(model, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_place_that_cannot_be_written_is_told(folder: Path):
    (folder / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        save_trocr(load_trocr(folder), folder / "file" / "model")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eos_token_id": 5}, "end it with 5; its tokenizer ends it with 2"),
        ({"eos_token_id": [5, 6]}, r"end it with \[5, 6\]"),
        ({"decoder_start_token_id": 9}, "start a line with token 9"),
    ],
)
def test_special_tokens_of_another_tokenizer_are_refused(folder: Path, settings: dict[str, object], message: str):
    edit_json(folder / "generation_config.json", **settings)
    with pytest.raises(ModelError, match=message):
        load_trocr(folder)


def test_a_line_may_end_in_several_ways_and_start_as_in_the_tutorials(folder: Path):
    edit_json(folder / "generation_config.json", eos_token_id=[5, 2], decoder_start_token_id=0)
    assert load_trocr(folder).network.config.decoder_start_token_id == 0
