import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from fakes import write_bar_folder
from languages import write_language

from quillread.config import apply_overrides, build, dump, load, merge
from quillread.errors import ConfigError, ModelError
from quillread.images.document import ReadConfig
from quillread.language.catalog import SHIPPED_LANGUAGES, LanguageConfig
from quillread.models.catalog import CANDIDATES
from quillread.models.trocr.settings import GenerateChanges
from quillread.options import Provenance, ReadOptions, files_stamp

FILLED = ReadOptions(
    models=("builtin", "org/name@revision"),
    generate=GenerateChanges(beams=4, rows="split"),
    lm=("en@2", "fr"),
    lexicons=(Path("names.txt"),),
    correct=True,
    variants=3,
    threads=2,
    pages="2-5,9",
    segmenter="classical",
    read=ReadConfig(pdf_dpi=400),
)
"""Options that are none of them the defaults, as far as they go together."""
SETTINGS: dict[str, Any] = {
    "models": ["builtin", "org/name@revision"],
    "generate": {"beams": 4, "rows": "split"},
    "lm": ["en@2", "fr"],
    "lexicons": ["names.txt"],
    "correct": True,
    "variants": 3,
    "threads": 2,
    "pages": "2-5,9",
    "segmenter": "classical",
    "read": {"pdf_dpi": 400},
}
YAML = """
models: [builtin, org/name@revision]
generate: {beams: 4, rows: split}
lm: [en@2, fr]
lexicons: [names.txt]
correct: yes
variants: 3
threads: 2
pages: 2-5,9
segmenter: classical
read:
  pdf_dpi: 400
"""
OVERRIDES = (
    "models=[builtin, org/name@revision]",
    "generate.beams=4",
    "generate.rows=split",
    "lm=[en@2, fr]",
    "lexicons=[names.txt]",
    "correct=true",
    "variants=3",
    "threads=2",
    "pages=2-5,9",
    "segmenter=classical",
    "read.pdf_dpi=400",
)


# --- the same from everywhere -----------------------------------------------------------------------------------------


def test_options_are_the_same_from_python_yaml_json_and_settings(tmp_path: Path):
    (tmp_path / "options.yaml").write_text(YAML, encoding="utf-8")
    (tmp_path / "empty.yaml").touch()
    assert load(ReadOptions, tmp_path / "options.yaml") == FILLED
    assert load(ReadOptions, tmp_path / "empty.yaml", OVERRIDES) == FILLED
    assert build(ReadOptions, json.loads(json.dumps(SETTINGS))) == FILLED
    assert ReadOptions().changed(**SETTINGS) == FILLED
    assert build(ReadOptions, apply_overrides(merge({}, SETTINGS), ["threads=1"])) == FILLED.changed(threads=1)


def test_options_are_read_back_from_json():
    assert build(ReadOptions, json.loads(json.dumps(dump(FILLED)))) == FILLED


def test_equal_options_are_one_key():
    assert len({FILLED, build(ReadOptions, SETTINGS), ReadOptions()}) == 2


def test_options_cannot_be_written_to():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ReadOptions().threads = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"thread": 2}, "unknown setting 'thread' (did you mean 'threads'?)"),
        ({"generate": {"beam": 2}}, "unknown setting 'generate.beam' (did you mean 'beams'?)"),
        ({"read": {"web": {"allowed": "any"}}}, "unknown setting 'read.web.allowed' (did you mean 'allow'?)"),
        ({"read": {"web": {"allow": "some"}}}, "read.web.allow: 'some' is not one of"),
        ({"threads": "2"}, "threads: expected int, got '2'"),
        ({"threads": -1}, "threads must be at least 0, got -1"),
        ({"threads": 9999}, "threads must be at most 1024, got 9999"),
        ({"variants": 8}, "variants must be 1 to 7, got 8"),
        ({"models": []}, "models: name at least one"),
        ({"models": ["auto", "open"]}, "models: auto chooses by itself, and must stand alone, got auto, open"),
        ({"generate": {"rows": "cut"}}, "generate.rows: 'cut' is not one of"),
        ({"lines": True, "segmentation": "page.xml"}, "lines and segmentation exclude each other"),
        ({"lm": ["none", "en"]}, "lm: none and en contradict each other"),
        ({"lm": ["auto", "en"]}, "auto chooses by itself, and cannot be mixed with others"),
        ({"lm": ["none"], "lexicons": ["names.txt"]}, "lexicons need a language model, and lm is none"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        build(ReadOptions, values)
    assert message in caught.value.message
    with pytest.raises(ConfigError) as caught:
        ReadOptions().changed(**values)
    assert message in caught.value.message


# --- changes ----------------------------------------------------------------------------------------------------------


def test_groups_are_changed_in_part():
    changed = FILLED.changed(read={"max_pixels": 1000}, generate={"beams": 2})
    assert (changed.read.max_pixels, changed.read.pdf_dpi) == (1000, 400)
    assert (changed.generate.beams, changed.generate.rows) == (2, "split")
    assert changed.lm == FILLED.lm


def test_groups_within_groups_are_changed_in_part():
    options = ReadOptions().changed(read={"web": {"allow": "any"}})
    assert options.read.web.allow == "any"
    assert dataclasses.replace(options.read.web, allow=None) == ReadOptions().read.web
    assert options.read.pdf_dpi == ReadOptions().read.pdf_dpi


def test_a_group_that_is_given_whole_takes_the_place_of_the_other():
    assert FILLED.changed(generate=GenerateChanges(max_tokens=9)).generate == GenerateChanges(max_tokens=9)


def test_a_single_name_will_do_for_models_and_languages():
    assert ReadOptions().changed(model="mine").models == ("mine",)
    assert ReadOptions().changed(models="mine").models == ("mine",)
    assert ReadOptions().changed(model=Path("mine")).models == ("mine",)
    for names in ({"lexicon": "a.txt"}, {"lexicons": Path("a.txt")}, {"lexicons": ["a.txt"]}):
        assert ReadOptions().changed(**names).lexicons == (Path("a.txt"),)
    assert ReadOptions().changed(pages=3).pages == "3"
    assert ReadOptions().changed(lm="fr").lm == ("fr",)
    assert FILLED.changed(lm=None).lm is None


def test_options_by_hand_take_what_changes_take():
    by_hand = ReadOptions(models="builtin", lm="fr", lexicons="names.txt", pages=3, segmentation="lines")  # type: ignore[arg-type]
    changed = ReadOptions().changed(models="builtin", lm="fr", lexicons="names.txt", pages=3, segmentation="lines")
    assert by_hand == changed
    assert (by_hand.lm, by_hand.lexicons, by_hand.pages) == (("fr",), (Path("names.txt"),), "3")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threads": "2", "lines": "yes"}, "read options: threads: expected int, got '2'; lines: expected bool"),
        ({"variants": 2.5}, r"variants: expected int, got 2\.5"),
        ({"lm": ("fr", 3)}, r"lm\[1\]: expected str, got 3"),
        ({"pages": (2, 3)}, r"pages: expected str, got \(2, 3\)"),
    ],
)
def test_options_by_hand_of_a_wrong_type_are_refused(values: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        ReadOptions(**values)


def test_a_path_is_never_the_name_of_a_model_that_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    options = ReadOptions().changed(models=[Path("open"), Path("runs/model"), "open"])
    assert options.models == (str(tmp_path / "open"), str(Path("runs/model")), "open")


def test_nothing_changed_is_the_same_object():
    assert FILLED.changed() is FILLED


# --- pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pages", "count", "numbers"),
    [
        (None, 3, [1, 2, 3]),
        ("2", 3, [2]),
        ("2-3,1", 4, [1, 2, 3]),
        ("2-5,9", 20, [2, 3, 4, 5, 9]),
        ("10-", 12, [10, 11, 12]),
        ("1-3,2-4", 9, [1, 2, 3, 4]),
        (" 2 - 3 , 5", 9, [2, 3, 5]),
        ("3-8", 4, [3, 4]),
        ("7", 3, []),
    ],
)
def test_pages_are_selected(pages: str | None, count: int, numbers: list[int]):
    assert [index + 1 for index in ReadOptions(pages=pages).selected(count)] == numbers


@pytest.mark.parametrize(("pages", "first"), [(None, 1), ("4-", 4), ("9,2-5", 2)])
def test_the_first_page_is_known(pages: str | None, first: int):
    assert ReadOptions(pages=pages).first_page == first


@pytest.mark.parametrize("pages", ["", "0", "5-2", "a", "1,", "-3", "1-2-3", "2.5"])
def test_pages_of_another_form_are_refused(pages: str):
    with pytest.raises(ConfigError, match="is not of the form 2-5,9: pages count from 1"):
        ReadOptions(pages=pages)


def test_a_range_of_pages_that_runs_backwards_is_told():
    with pytest.raises(ConfigError, match="and '4-2' runs backwards"):
        ReadOptions(pages="1,4-2")


# --- languages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "language"),
    [
        (ReadOptions(), LanguageConfig(("auto",), only_compact=True)),
        (ReadOptions(lm=("none",)), None),
        (ReadOptions(lm=("fr",)), LanguageConfig(("fr",))),
        (ReadOptions(lm=("none",), correct=True), LanguageConfig(("auto",), decode=False, correct=True)),
        (ReadOptions(correct=True), LanguageConfig(("auto",), correct=True)),
        (ReadOptions(lexicons=(Path("n"),)), LanguageConfig(("auto",), (Path("n"),))),
    ],
    ids=["default", "none", "one", "correction only", "correction too", "names"],
)
def test_languages_are_those_that_are_asked_for(options: ReadOptions, language: LanguageConfig | None):
    assert options.language() == language


# --- provenance -------------------------------------------------------------------------------------------------------


def fingerprint(**changes: Any) -> str:
    return Provenance(ReadOptions().changed(**changes)).fingerprint()


def test_default_languages_are_told_by_name_and_content():
    provenance = Provenance(ReadOptions())
    assert provenance["lm"] == "auto"
    assert [language["name"] for language in provenance["languages"]] == list(SHIPPED_LANGUAGES)
    assert all(len(language["content"]) == 64 for language in provenance["languages"])
    assert provenance["line_finder"]["name"] == "neural"
    json.dumps(dict(provenance))


def test_options_that_name_nothing_else_have_no_languages_or_line_finder():
    provenance = Provenance(ReadOptions(lm=("none",), lines=True))
    assert (provenance["lm"], provenance["languages"], provenance["line_finder"]) == ("none", [], None)


@pytest.mark.parametrize(
    "changes",
    [
        {"threads": 3},
        {"lm": "auto"},
        {"model": "builtin"},
        {"read": {"web": {"allow": "any"}}},
        {"read": {"max_memory": 3_000_000_000, "max_seconds": 5}},
        {"generate": {"beams": None}},
        {"generate": {"draft": False}},
    ],
    ids=["threads", "the default languages", "the default model", "the web", "limits", "a setting left open", "drafts"],
)
def test_what_changes_no_reading_keeps_the_fingerprint(changes: dict[str, Any]):
    assert fingerprint(**changes) == fingerprint()


@pytest.mark.parametrize(
    "changes",
    [
        {"lm": "none"},
        {"lm": ("en", "fr")},
        {"lm": "en"},
        {"correct": True},
        {"variants": 3},
        {"pages": "1-2"},
        {"lines": True},
        {"segmenter": "classical"},
        {"segmenter": "neural-all"},
        {"crop": {"margin": 0}},
        {"read": {"pdf_dpi": 200}},
        {"models": ("builtin", "builtin")},
        {"model": "auto"},
    ],
    ids=str,
)
def test_what_may_change_readings_changes_the_fingerprint(changes: dict[str, Any]):
    assert fingerprint(**changes) != fingerprint()


def test_a_model_that_is_chosen_for_each_page_is_told_with_all_that_it_is_chosen_from():
    provenance = Provenance(ReadOptions(models=("auto",)))
    assert provenance["model"] == "auto"
    assert [model["name"] for model in provenance["models"]] == list(CANDIDATES)
    assert fingerprint(model="auto") != fingerprint(models=CANDIDATES)


def test_weights_of_languages_are_part_of_the_fingerprint():
    assert fingerprint(lm=("en@2", "fr")) != fingerprint(lm=("en", "fr"))


def test_equal_files_of_another_name_have_the_same_fingerprint(tmp_path: Path):
    content = write_language(tmp_path / "own.lm").read_bytes()
    prints, names = [], []
    for name in ("a", "b"):
        mine = write_bar_folder(tmp_path / f"model-{name}")
        lexicon, language = tmp_path / f"{name}.txt", tmp_path / f"{name}.lm"
        lexicon.write_text("Abel", encoding="utf-8")
        language.write_bytes(content)
        provenance = Provenance(ReadOptions().changed(model=mine, lm=str(language), lexicons=(lexicon,)))
        prints.append(provenance.fingerprint())
        names.append(provenance["model"])
    assert prints[0] == prints[1]
    assert names[0] != names[1]


@pytest.mark.parametrize("file", ["model/model.onnx", "model/quillread.json", "names.txt", "own.lm", "lines/a.xml"])
def test_other_content_changes_the_fingerprint(file: str, tmp_path: Path):
    changes = {
        "model": write_bar_folder(tmp_path / "model"),
        "lm": str(write_language(tmp_path / "own.lm")),
        "lexicons": (tmp_path / "names.txt",),
        "segmentation": tmp_path / "lines",
    }
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines" / "a.xml").write_text("<PcGts/>", encoding="utf-8")
    (tmp_path / "names.txt").write_text("Abel", encoding="utf-8")
    before, stamp = fingerprint(**changes), files_stamp(ReadOptions().changed(**changes))
    assert fingerprint(**changes) == before
    with (tmp_path / file).open("ab") as changed:
        changed.write(b" ")
    assert fingerprint(**changes) != before
    assert files_stamp(ReadOptions().changed(**changes)) != stamp


def test_provenance_of_a_model_that_is_missing_is_refused_when_it_is_asked_for():
    provenance = Provenance(ReadOptions().changed(model="buildin"))
    with pytest.raises(ModelError, match="did you mean 'builtin'"):
        _ = provenance["model"]


def test_lists_are_taken_for_tuples():
    options = ReadOptions(models=["builtin"], lm=["fr"], lexicons=[Path("names.txt")])  # type: ignore[arg-type]
    assert options == ReadOptions(models=("builtin",), lm=("fr",), lexicons=(Path("names.txt"),))
    assert hash(options) == hash(ReadOptions(lm=("fr",), lexicons=(Path("names.txt"),)))
