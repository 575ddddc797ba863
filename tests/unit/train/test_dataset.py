from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import write_folder, write_strokes
from runs import train_config

from quillread.data.spec import open_source, parse_spec
from quillread.errors import DataError
from quillread.images.augment import STEPS, AugmentConfig
from quillread.images.fit import InkConfig, ink_pixels
from quillread.text.charset import Charset
from quillread.train import dataset as dataset_module
from quillread.train.compact_form import CompactForm
from quillread.train.dataset import LineDataset, PlanSampler, collate_readable, make_loader
from quillread.train.plan import LineKey, Plan

LETTERS = "abcdefghijklmnopqrstuvwxyz "
NEVER = AugmentConfig(**dict.fromkeys(STEPS, 0.0))


def form(distort: AugmentConfig) -> CompactForm:
    return CompactForm(train_config(charset=LETTERS, augment=distort))


def dataset(tmp_path: Path, distort: AugmentConfig, spec: str = "folder") -> LineDataset:
    texts = ["one line", "another one", "mmm"]
    place = write_folder(tmp_path, texts) if spec == "folder" else write_strokes(tmp_path / "s.npz", texts)
    return LineDataset([open_source(parse_spec(f"{spec}:{place}"), "train")], form(distort))


def test_an_item_without_distortion_is_what_the_recogniser_sees(tmp_path: Path):
    lines = dataset(tmp_path, NEVER)
    pixels, labels = lines[LineKey(0, 1, seed=5)]
    image = open_source(parse_spec(f"folder:{tmp_path}"), "train").sample(1, np.random.default_rng(0)).image
    assert np.array_equal(pixels, ink_pixels(image, InkConfig()))
    assert Charset(LETTERS).decode(labels) == "another one"


@pytest.mark.parametrize("spec", ["folder", "strokes"])
def test_a_key_always_gives_the_same_item(tmp_path: Path, spec: str):
    lines = dataset(tmp_path, AugmentConfig(), spec)
    first, second = (lines[LineKey(0, 0, seed=9)][0] for _ in range(2))
    assert np.array_equal(first, second)


def test_another_seed_gives_another_look(tmp_path: Path):
    lines = dataset(tmp_path, AugmentConfig())
    first, second = (lines[LineKey(0, 0, seed=seed)][0] for seed in (1, 2))
    assert first.shape != second.shape or not np.array_equal(first, second)


def damage(tmp_path: Path, number: int) -> None:
    (tmp_path / f"line-{number:02}.png").write_bytes(b"no image")


def test_a_line_without_a_readable_image_is_named_once_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    lines = dataset(tmp_path, NEVER)
    damage(tmp_path, 1)
    items = [lines[LineKey(0, index, seed=1)] for index in (0, 1, 2, 1)]
    assert [item is None for item in items] == [False, True, False, True]
    assert caplog.text.count("the line is skipped") == 1
    assert len(collate_readable(lines.form, items)["weights"]) == 2


def test_too_many_unreadable_lines_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dataset_module, "_MOST_UNREADABLE", 1)
    lines = dataset(tmp_path, NEVER)
    damage(tmp_path, 0)
    damage(tmp_path, 2)
    assert lines[LineKey(0, 0, seed=1)] is None
    with pytest.raises(DataError, match=r"line-02\.png"):
        lines[LineKey(0, 2, seed=1)]


def test_a_batch_without_any_image_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="no image of a whole batch"):
        collate_readable(form(NEVER), [None, None])


def test_the_sampler_gives_the_batches_of_its_epoch(tmp_path: Path):
    source = open_source(parse_spec(f"folder:{write_folder(tmp_path, ['a', 'b', 'c', 'd'])}"), "train")
    plan = Plan([source], [np.arange(4)], [1], 4, 2, seed=1)
    sampler = PlanSampler(plan)
    sampler.set_epoch(3)
    assert list(sampler) == plan.batches(3)
    assert len(sampler) == 2


def test_a_loader_draws_nothing_from_the_global_generator(tmp_path: Path):
    source = open_source(parse_spec(f"folder:{write_folder(tmp_path, ['a', 'b'])}"), "train")
    plan = Plan([source], [np.arange(2)], [1], 2, 2, seed=1)
    loader = make_loader(LineDataset([source], form(NEVER)), PlanSampler(plan), workers=0, pin=False)
    before = torch.random.get_rng_state()
    assert len(list(loader)) == 1
    assert torch.equal(torch.random.get_rng_state(), before)


def test_processes_share_out_every_batch(tmp_path: Path):
    source = open_source(parse_spec(f"folder:{write_folder(tmp_path, list('abcdefgh'))}"), "train")
    plan = Plan([source], [np.arange(8)], [1], 8, 4, seed=1)
    shares = [list(PlanSampler(plan, rank, processes=2)) for rank in range(2)]
    for batch, first, second in zip(plan.batches(0), *shares, strict=True):
        assert sorted(first + second, key=batch.index) == batch
        assert len(first) == len(second) == 2
