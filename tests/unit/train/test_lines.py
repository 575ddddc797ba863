import csv
import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from fakes import line_image, png, write_folder
from runs import changed, train_config

from quillread.data.recombined import LineCuts, write_cuts
from quillread.data.source import fixed_sample
from quillread.data.split import HeldSource, hold_out
from quillread.errors import ConfigError, DataError
from quillread.train.compact_form import CompactForm
from quillread.train.config import TrainConfig
from quillread.train.lines import RunLines, Usable, find_usable, open_lines, open_sources
from quillread.types import Sample


def config(tmp_path, count=20, **settings):
    folder = tmp_path / "lines"
    write_folder(folder, [f"line {i}" for i in range(count)])
    return train_config(data=[f"folder:{folder}"], batch_size=2, **settings)


def opened(settings: TrainConfig) -> RunLines:
    return open_lines(settings, CompactForm(settings), open_sources(settings))


def test_a_tenth_is_held_out_when_no_validation_is_named(tmp_path):
    settings = config(tmp_path)
    lines = opened(settings)
    held = {sample.id for sample in lines.validation[0].samples}
    trained = {lines.sources[key.source].sample(key.index, None).id for batch in lines.plan.batches(0) for key in batch}
    assert len(held) == 2
    assert not held & trained
    assert "2 of them held out" in lines.report[0]


def test_nothing_is_held_out_when_validation_is_named(tmp_path):
    settings = config(tmp_path)
    settings = dataclasses.replace(settings, validation=settings.data, validation_lines=5)
    lines = opened(settings)
    assert len(lines.validation[0].samples) == 5
    assert lines.plan.counts == [20]


def test_sources_of_the_same_name_have_metrics_of_their_own(tmp_path):
    settings = config(tmp_path)
    settings = dataclasses.replace(settings, validation=settings.data * 2)
    lines = opened(settings)
    assert [part.name for part in lines.validation] == ["lines", "lines_2"]


def write_table(path, groups, text="line", splits=None):
    """A line of each group, in a CSV file."""
    rows = [["image", "text", "group", "split"]]
    for i, group in enumerate(groups):
        image = path.with_name(f"{path.stem}-{i}.png")
        image.write_bytes(png(line_image(f"{text} {i}")))
        rows.append([image.name, f"{text} {i}", group, splits[i] if splits else "train"])
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return f"csv:{path}"


def sides_of(lines: RunLines, fact) -> tuple[set[str], set[str]]:
    trained = {fact(s.sample(int(i), None)) for s, part in zip(lines.sources, lines.usable, strict=True) for i in part}
    return trained, {fact(sample) for part in lines.validation for sample in part.samples}


@pytest.mark.parametrize("how", [{"validation_share": 0.25}, *({"fold": [k, 4]} for k in (1, 2, 3, 4))], ids=str)
def test_groups_of_several_sources_are_held_out_of_all_of_them(how, tmp_path):
    writers = [f"writer {i}" for i in range(8)]
    data = [write_table(tmp_path / "a.csv", writers), write_table(tmp_path / "b.csv", [*writers[2:], "other"], "other")]
    trained, held = sides_of(opened(train_config(data=data, batch_size=2, **how)), lambda sample: sample.group)
    assert held and not trained & held


@pytest.mark.parametrize("how", [{"validation_share": 0.25}, *({"fold": [k, 4]} for k in (1, 2, 3, 4))], ids=str)
def test_a_line_of_several_sources_is_held_out_of_all_of_them(how, tmp_path):
    settings = config(tmp_path, count=12, **how)
    more = write_folder(tmp_path / "more", [f"line {i}" for i in range(4, 16)])
    settings = changed(settings, data=[*settings.data, *settings.data, f"folder:{more}"], validation_lines=0)
    trained, held = sides_of(opened(settings), lambda sample: sample.text)
    assert held and not trained & held


def test_sources_that_share_nothing_are_parted_each_by_itself(tmp_path):
    writers = [f"writer {i}" for i in range(8)]
    first = write_table(tmp_path / "a.csv", writers)
    other = write_table(tmp_path / "b.csv", [f"hand {i}" for i in range(8)], "other")
    settings = train_config(data=[first, other], batch_size=2)
    for number, (spec, part) in enumerate(zip((first, other), opened(settings).validation, strict=True)):
        source = open_sources(train_config(data=[spec]))[0]
        groups = [source.group(i) for i in range(8)]
        _, held = hold_out(groups, settings.validation_share, np.random.default_rng((settings.seed, 3, number)))
        assert [sample.group for sample in part.samples] == [groups[i] for i in held]


def test_validation_lines_that_are_trained_on_are_told(tmp_path, caplog):
    settings = config(tmp_path)
    opened(dataclasses.replace(settings, validation=settings.data))
    assert "20 of the 20 validation lines, or more, are trained on" in caplog.text
    caplog.clear()
    other = write_folder(tmp_path / "other", [f"other {i}" for i in range(5)])
    opened(changed(settings, validation=[f"folder:{other}"]))
    assert not caplog.text


def test_groups_in_training_and_validation_are_told(tmp_path, caplog):
    writers = ["ann", "bob", "bob", "cid", "dan"]
    splits = ["train", "train", "validation", "validation", "train"]
    table = write_table(tmp_path / "a.csv", writers, splits=splits)
    opened(train_config(data=[table], validation=[table], batch_size=2))
    assert "groups (writers or documents) that are in training and validation: 1 " in caplog.text
    assert "(1 of 2 validation lines), bob;" in caplog.text


def test_validation_lines_without_text_are_skipped(tmp_path, caplog):
    settings = config(tmp_path)
    other = write_folder(tmp_path / "other", ["", "good", ""])
    lines = opened(changed(settings, validation=[f"folder:{other}"]))
    assert [sample.text for sample in lines.validation[0].samples] == ["good"]
    assert "1 validation lines (skipped: 2 without text)" in caplog.text
    empty = write_folder(tmp_path / "empty", ["", ""])
    with pytest.raises(DataError, match="none of its 2 validation lines has a text"):
        opened(changed(settings, validation=[f"folder:{empty}"]))


def test_characters_of_validation_lines_that_cannot_be_written_are_told_once(tmp_path, caplog):
    settings = config(tmp_path)
    other = write_folder(tmp_path / "other", ["ʒaʒ", "ʒ", "good"])
    opened(changed(settings, validation=[f"folder:{other}"]))
    assert caplog.text.count("3 characters of the validation lines cannot be written by the model") == 1
    assert "'ʒ' 3" in caplog.text


def test_one_line_cannot_be_split(tmp_path):
    settings = config(tmp_path, count=1)
    with pytest.raises(DataError, match="one line cannot be split"):
        opened(settings)


def test_a_run_without_data_is_refused():
    settings = TrainConfig()
    with pytest.raises(DataError, match="no training data") as caught:
        opened(settings)
    assert "--data" in str(caught.value)


def test_weights_for_some_sources_only_are_refused(tmp_path):
    settings = config(tmp_path)
    settings = changed(settings, data=(f"{settings.data[0]}@0.3", settings.data[0]))
    with pytest.raises(ConfigError, match="has no weight"):
        opened(settings)


def test_images_can_be_held_in_memory(tmp_path):
    settings = config(tmp_path, in_memory=True, validation_share=0)
    write_cuts(tmp_path / "cuts.jsonl", [LineCuts(i, f"line {i}", ((4, 0.5),)) for i in range(20)])
    recombined = f"recombined:{settings.data[0]}?cuts={tmp_path / 'cuts.jsonl'}&lines=5"
    settings = changed(settings, data=(*settings.data, recombined))
    sources = opened(settings).sources
    assert isinstance(sources[0], HeldSource)
    assert sources[1].lines_of is sources[0]


def test_lines_that_one_data_set_gives_in_two_ways_are_held_in_both(tmp_path):
    settings = config(tmp_path, in_memory=True, validation_share=0)
    settings = changed(settings, data=(f"{settings.data[0]}?replace=line:row", *settings.data))
    held = opened(settings).sources
    assert [source.text(3) for source in held] == ["row 3", "line 3"]
    assert [fixed_sample(source, 3).text for source in held] == ["row 3", "line 3"]


def test_words_of_held_out_lines_are_not_recombined(tmp_path):
    settings = config(tmp_path)
    write_cuts(tmp_path / "cuts.jsonl", [LineCuts(i, f"line {i}", ((4, 0.5),)) for i in range(20)])
    recombined = f"recombined:{settings.data[0]}?cuts={tmp_path / 'cuts.jsonl'}&lines=5"
    settings = changed(settings, data=(*settings.data, recombined))
    with pytest.raises(ConfigError, match="recombined words"):
        opened(settings)


class TextSource:
    """Lines of a text and an aspect."""

    def __init__(self, lines: Sequence[tuple[str, float]], name: str = "lines") -> None:
        self.name = name
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def text(self, index: int) -> str:
        return self._lines[index][0]

    def aspect(self, index: int) -> float:
        return self._lines[index][1]

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        raise AssertionError("nobody looks at an image")


class NoX:
    """A form that cannot learn an x."""

    def fault(self, text: str, aspect: float) -> str | None:
        return "with an x" if "x" in text else None

    def cuts(self, text: str) -> bool:
        return len(text) > 10


def test_lines_that_cannot_be_learnt_are_counted_by_reason():
    usable = find_usable(TextSource([("good", 4.0), ("", 4.0), ("  ", 4.0), ("xylem", 9.0)]), NoX())
    assert usable.indices.tolist() == [0]
    assert usable.left_out == Counter({"without text": 2, "with an x": 1})


def test_whole_pages_are_told_as_such():
    page = "A text of many words on a page that is about as wide as high"
    assert find_usable(TextSource([("good", 4.0), (page, 0.7)]), NoX()).left_out == Counter(
        {"that are pages or paragraphs, not lines": 1}
    )
    with pytest.raises(DataError, match="that are pages or paragraphs") as caught:
        find_usable(TextSource([(page, 0.7)]), NoX())
    assert "quill data lines" in str(caught.value.hint)


@pytest.mark.parametrize(("text", "aspect"), [("a line of usual shape, of many letters", 12.0), ("No. 12", 0.5)])
def test_lines_are_no_pages(text: str, aspect: float):
    assert len(find_usable(TextSource([(text, aspect)]), NoX()).indices) == 1


def test_truncated_texts_are_counted_in_the_report():
    usable = find_usable(TextSource([("good", 4.0), ("much too long", 4.0)]), NoX())
    assert usable.report("lines") == "lines: 2 lines; 1 of them truncated"


def test_a_source_without_any_usable_line_says_why():
    with pytest.raises(DataError, match=r"no line can be used: lines: 0 lines \(skipped: 2 without text\)"):
        find_usable(TextSource([("", 1.0), ("", 1.0)]), NoX())


def test_the_report_names_what_is_left_out():
    usable = Usable(np.arange(5), Counter({"too narrow": 1, "without text": 2}))
    assert usable.report("hub:x") == "hub:x: 5 lines (skipped: 2 without text; 1 too narrow)"


def test_the_report_of_a_clean_source_is_its_size():
    assert Usable(np.arange(5), Counter()).report("hub:x") == "hub:x: 5 lines"
