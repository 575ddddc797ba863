from pathlib import Path

import numpy as np
import pytest
from languages import ENGLISH, write_language

from quillread.errors import ConfigError, DataError, ModelError
from quillread.language.build import BuildConfig, Content, build_language, read_language, write_content
from quillread.language.scoring import mean_log_probability


def test_a_model_is_read_back_with_its_facts(tmp_path: Path):
    model = read_language(write_language(tmp_path / "small.lm", language="en"))
    assert (model.name, model.language, model.facts["order"]) == ("small", "en", 5)
    assert "house" in model.words.words
    assert mean_log_probability(model.characters, "the old man and his dog") > -1.5


@pytest.mark.parametrize("text", [[], ["", "  "], ["12, 34."]])
def test_a_text_without_words_makes_no_language(text):
    with pytest.raises(DataError, match="holds no words"):
        build_language(text, "empty")


def test_one_word_is_a_language(tmp_path: Path):
    write_content(tmp_path / "x.lm", build_language(["a"], "x"))
    characters = read_language(tmp_path / "x.lm").characters
    assert characters.step(characters.start, "a")[0] < 0


def test_text_is_composed(tmp_path: Path):
    content = build_language(["e\u0301te\u0301 " * 5], "x")
    assert "é" in content.facts["alphabet"] and "\u0301" not in content.facts["alphabet"]


def test_fewer_runs_make_a_smaller_file(tmp_path: Path):
    sizes = []
    for keep in (10_000, 100):
        config = BuildConfig(order=5, keep=keep, least_character=1)
        write_content(tmp_path / "x.lm", build_language(ENGLISH, "x", "en", config))
        sizes.append((tmp_path / "x.lm").stat().st_size)
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize("keep", [1, 3, 20])
def test_a_model_of_few_runs_is_read_back(tmp_path: Path, keep: int):
    write_content(tmp_path / "x.lm", build_language(["hello world"], "x", "en", BuildConfig(keep=keep)))
    assert mean_log_probability(read_language(tmp_path / "x.lm").characters, "hello") < 0


@pytest.mark.parametrize("values", [{"order": 1}, {"order": 9}, {"keep": 0}, {"least_word": 0}])
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(ConfigError):
        BuildConfig(**values)


def test_a_file_of_something_else_is_refused(tmp_path: Path):
    write_content(tmp_path / "x.lm", Content({"kind": "map"}, {}))
    with pytest.raises(ModelError, match="holds a map"):
        read_language(tmp_path / "x.lm")


@pytest.mark.parametrize(
    "name", ["symbols.0", "children.1", "costs.2", "backoff_costs.0", "word.starts", "word.costs", "words"]
)
def test_a_file_whose_parts_do_not_fit_each_other_is_refused(tmp_path: Path, name: str):
    content = build_language(ENGLISH, "x")
    array = content.arrays[name]
    cut = array[array.tobytes().rindex(b"\n") + 1 :] if name == "words" else array[1:]
    write_content(tmp_path / "x.lm", Content(content.facts, {**content.arrays, name: cut}))
    with pytest.raises(ModelError, match="its parts do not fit each other"):
        read_language(tmp_path / "x.lm")


def test_a_file_that_lacks_an_array_is_refused(tmp_path: Path):
    content = build_language(ENGLISH, "x")
    arrays: dict[str, np.ndarray] = {k: v for k, v in content.arrays.items() if k != "costs.1"}
    write_content(tmp_path / "x.lm", Content(content.facts, arrays))
    with pytest.raises(ModelError, match=r"damaged: lacks 'costs\.1'"):
        read_language(tmp_path / "x.lm")
