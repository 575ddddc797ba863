from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import png, write_folder, write_strokes

from quillread.data.sources import open_source
from quillread.data.spec import parse_spec
from quillread.images.augment import STEPS, AugmentConfig
from quillread.images.preprocess import InkConfig, ink_pixels
from quillread.models.compact_config import COLUMN_WIDTH
from quillread.text.charset import Charset
from quillread.train.dataset import LineDataset, PlanSampler, collate, make_loader
from quillread.train.plan import LineKey, Plan

CHARSET = Charset("abcdefghijklmnopqrstuvwxyz ")
NEVER = AugmentConfig(**dict.fromkeys(STEPS, 0.0))


def dataset(tmp_path: Path, distort: AugmentConfig, spec: str = "folder") -> LineDataset:
    texts = ["one line", "another one", "mmm"]
    place = write_folder(tmp_path, texts) if spec == "folder" else write_strokes(tmp_path / "s.npz", texts)
    return LineDataset([open_source(parse_spec(f"{spec}:{place}"), "train")], CHARSET, InkConfig(), distort)


def test_lines_are_padded_with_paper_to_a_common_width():
    short, long = np.full((48, 10), 0.5, np.float32), np.full((48, 130), 0.25, np.float32)
    batch = collate([(short, [1, 2]), (long, [3]), (long, [3]), (long, [3])])
    assert batch["pixels"].shape == (4, 1, 48, 192)
    assert batch["widths"].tolist() == [10, 130, 130, 130]
    assert (batch["pixels"][0, 0, :, :10] == 0.5).all() and (batch["pixels"][0, 0, :, 10:] == 0).all()
    assert (batch["pixels"][1, 0, :, :130] == 0.25).all() and (batch["pixels"][1, 0, :, 130:] == 0).all()


def test_a_line_much_wider_than_the_others_is_narrowed_to_them():
    lines = [(np.zeros((48, 64), np.float32), [1])] * 7
    batch = collate([*lines, (np.ones((48, 200), np.float32), [1, 2])])
    assert batch["widths"].tolist() == [64] * 8
    assert np.allclose(batch["pixels"][7], 1)


def test_a_narrowed_line_keeps_columns_for_its_text_and_the_blanks_between_equal_characters():
    lines = [(np.zeros((48, 64), np.float32), [1])] * 7
    batch = collate([*lines, (np.ones((48, 200), np.float32), [1, 1] * 10)])
    assert batch["widths"][7] >= (20 + 19) * COLUMN_WIDTH


def test_labels_are_joined_with_their_lengths():
    pixels = np.zeros((48, 8), np.float32)
    batch = collate([(pixels, [1, 2]), (pixels, [3]), (pixels, [4, 5, 6])])
    assert batch["labels"].tolist() == [1, 2, 3, 4, 5, 6]
    assert batch["label_lengths"].tolist() == [2, 1, 3]
    assert batch["widths"].tolist() == [8, 8, 8]
    assert batch["labels"].dtype == torch.int64


def test_an_item_without_distortion_is_what_the_recogniser_sees(tmp_path: Path):
    lines = dataset(tmp_path, NEVER)
    pixels, labels = lines[LineKey(0, 1, seed=5)]
    image = open_source(parse_spec(f"folder:{tmp_path}"), "train").sample(1, np.random.default_rng(0)).image
    assert np.array_equal(pixels, ink_pixels(image, InkConfig()))
    assert CHARSET.decode(labels) == "another one"


@pytest.mark.parametrize("spec", ["folder", "strokes"])
def test_a_key_always_gives_the_same_item(tmp_path: Path, spec: str):
    lines = dataset(tmp_path, AugmentConfig(), spec)
    first, second = (lines[LineKey(0, 0, seed=9)][0] for _ in range(2))
    assert np.array_equal(first, second)


def test_another_seed_gives_another_look(tmp_path: Path):
    lines = dataset(tmp_path, AugmentConfig())
    first, second = (lines[LineKey(0, 0, seed=seed)][0] for seed in (1, 2))
    assert first.shape != second.shape or not np.array_equal(first, second)


def test_a_narrow_image_is_given_columns_for_its_text_and_the_blanks_between_equal_characters(tmp_path: Path):
    folder = write_folder(tmp_path, ["m" * 40])
    (folder / "line-00.png").write_bytes(png(np.full((48, 20, 3), 255, np.uint8)))
    lines = LineDataset([open_source(parse_spec(f"folder:{folder}"), "train")], CHARSET, InkConfig(), NEVER)
    pixels, _ = lines[LineKey(0, 0, seed=0)]
    assert pixels.shape[1] >= (40 + 39) * COLUMN_WIDTH


def test_the_sampler_gives_the_batches_of_its_epoch(tmp_path: Path):
    source = open_source(parse_spec(f"folder:{write_folder(tmp_path, ['a', 'b', 'c', 'd'])}"), "train")
    plan = Plan([source], [np.arange(4)], [1], 4, 2, seed=1)
    sampler = PlanSampler(plan, 2)
    sampler.set_epoch(3)
    assert list(sampler) == plan.batches(3)
    assert len(sampler) == 2


def test_a_loader_draws_nothing_from_the_global_generator(tmp_path: Path):
    source = open_source(parse_spec(f"folder:{write_folder(tmp_path, ['a', 'b'])}"), "train")
    plan = Plan([source], [np.arange(2)], [1], 2, 2, seed=1)
    loader = make_loader(LineDataset([source], CHARSET, InkConfig(), NEVER), PlanSampler(plan, 2), workers=0, pin=False)
    before = torch.random.get_rng_state()
    assert len(list(loader)) == 1
    assert torch.equal(torch.random.get_rng_state(), before)
