import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from fakes import line_image, write_trocr
from runs import train_config

from quillread.images.augment import STEPS, AugmentConfig
from quillread.images.fit import CanvasConfig, pad_to_canvas
from quillread.images.preprocess import PreprocessConfig
from quillread.models.model_folder import ModelInfo
from quillread.models.trocr.loading import Trocr, load_trocr
from quillread.models.trocr.pixels import line_pixels, look_up_tables, set_canvas
from quillread.recognize.recognizer import LineRecognizer
from quillread.recognize.trocr.engine import TrocrEngine
from quillread.recognize.trocr.torch_backend import TorchTrocr
from quillread.text.tokenizer import decode_tokens, encode_text
from quillread.train.family_settings import LabelsConfig
from quillread.train.trocr import form as form_module
from quillread.train.trocr.family import TrocrForTraining, look_up_pixels
from quillread.train.trocr.form import IGNORED, TrocrForm, View

NEVER = AugmentConfig(**dict.fromkeys(STEPS, 0.0))
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module", params=["base-handwritten", "small"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trocr:
    return load_trocr(write_trocr(tmp_path_factory.mktemp("model"), request.param))


def form(model: Trocr, **settings: object) -> TrocrForm:
    return TrocrForm(train_config(family="trocr", augment=NEVER, **settings), model)


def as_numbers(model: Trocr, pixels: np.ndarray) -> np.ndarray:
    """What the network makes of the pixels of an item."""
    assert pixels.dtype == np.uint8
    table = torch.from_numpy(look_up_tables(model.image_processor))
    numbers = look_up_pixels(table, torch.tensor(pixels)[None])[0].numpy()
    assert numbers.dtype == np.float32
    return numbers


def losses(model: Trocr, batch: dict[str, torch.Tensor], **settings: Any) -> torch.Tensor:
    table = torch.from_numpy(look_up_tables(model.image_processor))
    network = TrocrForTraining(model.network, table=table, **settings)
    return network(pixel_values=batch["pixel_values"], labels=batch["labels"])["losses"]


def test_an_item_without_distortion_is_what_the_image_processor_gives(model: Trocr):
    image = line_image("a line", height=32)
    pixels, _ = form(model).make(image, "a line", RNG)
    expected = model.image_processor([image], return_tensors="np")["pixel_values"][0]
    assert np.array_equal(as_numbers(model, pixels), expected)


def test_an_image_processor_that_crops_gives_the_pixels_itself(model: Trocr, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(model.image_processor, "do_rescale", False)
    monkeypatch.setattr(form_module, "only_resizes", lambda _: False)
    pixels, _ = form(model, preprocess=PreprocessConfig(steps=("grayscale",))).make(line_image("ab"), "ab", RNG)
    assert pixels.dtype == np.float32
    assert pixels.shape[0] == 3


def test_grey_lines_travel_as_one_channel(model: Trocr):
    pixels, _ = form(model, preprocess=PreprocessConfig(steps=("grayscale",))).make(line_image("ab"), "ab", RNG)
    assert pixels.shape[0] == 1
    assert as_numbers(model, pixels).shape[0] == 3


def test_labels_have_no_start_token_and_one_end_token(model: Trocr):
    _, tokens = form(model).make(line_image("the line"), "the line", RNG)
    special = model.tokenizer.all_special_ids
    assert [token for token in tokens if token in special] == [model.tokenizer.eos_token_id]
    assert tokens[-1] == model.tokenizer.eos_token_id
    assert decode_tokens(model.tokenizer, tokens).strip() == "the line"


def test_the_decoder_starts_with_one_start_token(model: Trocr):
    made = form(model).collate([form(model).make(line_image("ab"), "ab", RNG)])
    seen = []
    hook = model.network.decoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"]), with_kwargs=True
    )
    losses(model, made)
    hook.remove()
    start = model.network.config.decoder_start_token_id
    assert seen[0][0].tolist() == [start, *made["labels"][0].tolist()[:-1]]


def test_labels_are_padded_to_the_longest_with_what_the_loss_ignores(model: Trocr):
    lines = form(model)
    batch = lines.collate([lines.make(line_image(text), text, RNG) for text in ("a", "bad cab")])
    short, long = (len(tokens[tokens != IGNORED]) for tokens in batch["labels"])
    assert batch["labels"].shape == (2, long)
    assert short < long
    assert batch["weights"].tolist() == [short, long]
    assert batch["labels"].dtype == torch.int64


def test_labels_of_a_fixed_length_are_padded_to_it(model: Trocr):
    lines = form(model, labels=LabelsConfig(max_length=30))
    assert lines.collate([lines.make(line_image("ab"), "ab", RNG)])["labels"].shape == (1, 30)


def test_lines_of_too_many_tokens_are_left_out_and_say_why(model: Trocr):
    lines = form(model, labels=LabelsConfig(max_length=5))
    assert lines.fault("a b", 4.0) is None
    assert lines.fault("1 2 3 4 5 6", 4.0) == "with more than 5 tokens"


def test_the_positions_of_the_decoder_are_the_limit(model: Trocr):
    lines = form(model, labels=LabelsConfig(max_length=100_000))
    assert lines.max_tokens == model.network.decoder.config.max_position_embeddings
    made = lines.collate([lines.make(line_image("ab"), "ab", RNG)])
    assert made["labels"].shape == (1, lines.max_tokens)
    assert lines.fault("1 " * lines.max_tokens, 4.0) == f"with more than {lines.max_tokens} tokens"


def test_the_squash_of_the_canvas_is_told(model: Trocr):
    lines = form(model, canvas=CanvasConfig(32, 64))
    assert lines.remark(np.array([2.0, 8.0, 10.0])) == (
        "canvas of 32 x 64: lines are narrowed 4.0 times at the median, 4.9 times at the 95th percentile"
    )


def test_a_truncated_label_does_not_end(model: Trocr):
    lines = form(model, labels=LabelsConfig(max_length=5, overlong="truncate"))
    _, tokens = lines.make(line_image("1 2 3 4 5 6"), "1 2 3 4 5 6", RNG)
    assert lines.fault("1 2 3 4 5 6", 4.0) is None
    assert len(tokens) == 5
    assert model.tokenizer.eos_token_id not in tokens


@pytest.mark.parametrize("steps", [(), ("grayscale", "median")], ids=["no steps", "steps"])
@pytest.mark.parametrize("width", [64, 256, 2048], ids=["square", "wide", "very wide"])
@pytest.mark.parametrize("line", ["a", "a line of several words"])
def test_the_network_is_trained_on_the_pixels_that_it_reads(
    model: Trocr, monkeypatch: pytest.MonkeyPatch, steps: tuple[str, ...], width: int, line: str
):
    canvas, clean = CanvasConfig(64, width, "pad"), PreprocessConfig(steps=steps)
    monkeypatch.setattr(model.image_processor, "size", {"height": 64, "width": width})
    image = line_image(line, height=48)
    trained, _ = form(model, canvas=canvas, preprocess=clean).make(image, line, RNG)

    class _SeenError(Exception):
        """Carries what the encoder is given."""

    def stop(pixel_values: torch.Tensor, **_: object) -> None:
        raise _SeenError(pixel_values)

    monkeypatch.setattr(model.network.encoder, "forward", stop)
    info = ModelInfo(family="trocr", name="tiny", canvas=canvas, preprocess=clean)
    with pytest.raises(_SeenError) as caught:
        LineRecognizer(TrocrEngine(TorchTrocr(model, info.generate), info), info).read([image])
    read = caught.value.args[0][0].numpy()
    assert np.array_equal(as_numbers(model, trained), read)


@pytest.mark.parametrize("canvas", [CanvasConfig(64, 512, "pad"), None])
def test_a_line_higher_than_the_canvas_is_trained_with_the_contrast_that_is_read(
    model: Trocr, canvas: CanvasConfig | None
):
    image = line_image("a line of several words", height=400)
    size = model.image_processor.size
    look = pad_to_canvas(image, canvas) if canvas else image
    read = line_pixels(model.image_processor, [look])[0]
    plain, _ = form(model, canvas=canvas).make(image, "a", RNG)
    assert np.array_equal(as_numbers(model, plain), read)
    lines = TrocrForm(train_config(family="trocr", augment=replace(NEVER, noise=1e-12), canvas=canvas), model)
    reduced, _ = lines.make(image, "a", RNG)
    assert reduced.shape == (3, size["height"], size["width"])
    assert as_numbers(model, reduced).std() == pytest.approx(read.std(), rel=0.03)


@pytest.mark.parametrize("pad", [0, 3])
def test_the_loss_of_a_line_is_the_mean_over_its_tokens(model: Trocr, pad: int):
    lines = form(model)
    batch = lines.collate([lines.make(line_image("ab"), "ab", RNG)])
    labels = torch.nn.functional.pad(batch["labels"], (0, pad), value=IGNORED)
    pixels = torch.from_numpy(as_numbers(model, batch["pixel_values"][0].numpy()))[None]
    plain = model.network(pixel_values=pixels, labels=batch["labels"]).loss
    ours = losses(model, {"pixel_values": batch["pixel_values"], "labels": labels})
    assert ours.item() == pytest.approx(plain.item(), rel=1e-5)


def test_hidden_tokens_never_hide_the_start_and_only_in_training(model: Trocr):
    torch.manual_seed(0)
    lines = form(model)
    batch = lines.collate([lines.make(line_image("bad cab"), "bad cab", RNG)] * 8)
    table = torch.from_numpy(look_up_tables(model.image_processor))
    hide = TrocrForTraining(model.network, mask_tokens=1.0, mask_token=model.tokenizer.mask_token_id, table=table)
    seen: list[torch.Tensor] = []
    hook = model.network.decoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"]), with_kwargs=True
    )
    for training in (True, False):
        hide.train(training)(pixel_values=batch["pixel_values"], labels=batch["labels"])
    hook.remove()
    model.network.eval()
    hidden = [tokens == model.tokenizer.mask_token_id for tokens in seen]
    assert 0.2 < hidden[0][:, 1:].float().mean() < 0.8
    assert not hidden[0][:, 0].any()
    assert not hidden[1].any()


@pytest.mark.parametrize("text", ["the line", "a bad cab", "1 2 3"])
def test_labels_are_those_of_the_processor_of_trocr_but_for_its_start_token(model: Trocr, text: str):
    from transformers import TrOCRProcessor

    processor = TrOCRProcessor(model.image_processor, model.tokenizer)
    theirs = list(processor(text=text)["input_ids"])
    assert theirs[0] == model.tokenizer.bos_token_id  # the decoder starts with its own
    assert form(model).make(line_image(text), text, RNG)[1] == theirs[1:]


def test_a_text_has_no_space_before_its_first_word(model: Trocr):
    tokens = encode_text(model.tokenizer, "the line")
    assert model.tokenizer.decode(tokens, skip_special_tokens=True) == "the line"


def test_a_teacher_sees_the_same_look_on_its_own_canvas(model: Trocr):
    narrow = CanvasConfig(32, 128, "pad")
    wide = View(copy.deepcopy(model.image_processor), None)
    student = copy.deepcopy(model)
    set_canvas(student, narrow.height, narrow.width)
    config = train_config(family="trocr", augment=replace(NEVER, shear=1.0), canvas=narrow)
    lines = TrocrForm(config, student, teacher=wide)
    items = [lines.make(line_image(text), text, np.random.default_rng(3)) for text in ("a", "bad cab")]
    batch = lines.collate(items)
    assert batch["pixel_values"].shape == (2, 3, 32, 128)
    assert batch["teacher_values"].shape == (2, 3, 64, 64)
    alone = TrocrForm(train_config(family="trocr", augment=replace(NEVER, shear=1.0)), model)
    expected, _ = alone.make(line_image("bad cab"), "bad cab", np.random.default_rng(3))
    assert np.array_equal(items[1][2], expected)
