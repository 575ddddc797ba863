from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from fakes import write_folder, write_strokes
from runs import train_config

from quillread.data.source import Source
from quillread.data.spec import open_source, parse_spec
from quillread.errors import DataError
from quillread.images.augment import STEPS, AugmentConfig
from quillread.images.fit import InkConfig, ink_pixels
from quillread.text.charset import Charset
from quillread.train import dataset as dataset_module
from quillread.train.compact_form import CompactForm
from quillread.train.dataset import LineDataset, PlanSampler, make_loader
from quillread.train.plan import LineKey, Plan
from quillread.types import Sample

LETTERS = "abcdefghijklmnopqrstuvwxyz "
NEVER = AugmentConfig(**dict.fromkeys(STEPS, 0.0))


def form(distort: AugmentConfig) -> CompactForm:
    return CompactForm(train_config(charset=LETTERS, augment=distort))


def dataset(tmp_path: Path, distort: AugmentConfig, spec: str = "folder") -> LineDataset:
    texts = ["one line", "another one", "mmm"]
    place = write_folder(tmp_path, texts) if spec == "folder" else write_strokes(tmp_path / "s.npz", texts)
    return LineDataset([open_source(parse_spec(f"{spec}:{place}"), "train")], [np.arange(3)], form(distort))


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


def labels(item: Any) -> str:
    return Charset(LETTERS).decode(item[1])


def test_another_line_takes_the_place_of_one_without_a_readable_image(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    lines = dataset(tmp_path, NEVER)
    damage(tmp_path, 1)
    items = [lines[LineKey(0, index, seed=1)] for index in (0, 1, 2, 1)]
    assert [labels(item) == text for item, text in zip(items, ["one line", "another one", "mmm"], strict=False)] == [
        True,
        False,
        True,
    ]
    assert labels(items[1]) == labels(items[3]) in ("one line", "mmm")
    assert caplog.text.count("the line is skipped") == 1
    assert len(lines.form.collate(items)["weights"]) == 4


def test_what_takes_the_place_is_the_same_in_every_process(tmp_path: Path):
    texts = [letter * 3 for letter in "abcdefgh"]
    source = open_source(parse_spec(f"folder:{write_folder(tmp_path, texts)}"), "train")
    for number in range(4):
        damage(tmp_path, number)
    keys = [LineKey(0, index, seed) for index in range(8) for seed in range(3)]
    # Another process has met other lines before.
    first, second = (LineDataset([source], [np.arange(8)], form(NEVER)) for _ in range(2))
    forwards = [labels(first[key]) for key in keys]
    assert forwards == [labels(second[key]) for key in reversed(keys)][::-1]
    assert len(set(forwards[:12])) > 1, "not one line for all"


def test_a_loader_goes_on_after_a_batch_without_any_image(tmp_path: Path):
    texts = [letter * 3 for letter in "abcdefgh"]
    source = open_source(parse_spec(f"folder:{write_folder(tmp_path, texts)}"), "train")
    for number in range(6):
        damage(tmp_path, number)
    plan = Plan([source], [np.arange(8)], [1], 8, 2, seed=1)
    loader = make_loader(LineDataset([source], [np.arange(8)], form(NEVER)), PlanSampler(plan), workers=0, pin=False)
    assert [len(batch["weights"]) for batch in loader] == [2, 2, 2, 2]


def test_lines_of_another_source_take_the_place_of_one_without_any_image(tmp_path: Path):
    places = [write_folder(tmp_path / name, [name]) for name in ("bad", "good")]
    sources = [open_source(parse_spec(f"folder:{place}"), "train") for place in places]
    damage(tmp_path / "bad", 0)
    lines = LineDataset(sources, [np.arange(1), np.arange(1)], form(NEVER))
    assert labels(lines[LineKey(0, 0, seed=1)]) == "good"


def test_too_many_unreadable_lines_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dataset_module, "_MOST_UNREADABLE", 1)
    lines = dataset(tmp_path, NEVER)
    damage(tmp_path, 0)
    assert labels(lines[LineKey(0, 0, seed=1)]) in ("another one", "mmm")
    damage(tmp_path, 2)
    with pytest.raises(DataError, match=r"more than 1 training lines.*line-00\.png.*line-02\.png"):
        lines[LineKey(0, 2, seed=1)]


def test_data_without_any_image_is_an_error(tmp_path: Path):
    lines = dataset(tmp_path, NEVER)
    for number in range(3):
        damage(tmp_path, number)
    with pytest.raises(DataError, match="no image of the training lines can be read"):
        lines[LineKey(0, 0, seed=1)]


class OnePage:
    """Lines of a page that cannot be decoded, and one of another."""

    name = "pages"

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        if index < 3:
            raise DataError("page-1.jpg: cannot be decoded")
        return Sample("good", np.full((40, 200, 3), 255, np.uint8), "good")


def test_a_damaged_page_is_named_once(caplog: pytest.LogCaptureFixture):
    lines = LineDataset([cast(Source, OnePage())], [np.arange(4)], form(NEVER))
    for index in range(4):
        assert labels(lines[LineKey(0, index, seed=1)]) == "good"
    assert caplog.text.count("page-1.jpg") == 1


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
    loader = make_loader(LineDataset([source], [np.arange(2)], form(NEVER)), PlanSampler(plan), workers=0, pin=False)
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
