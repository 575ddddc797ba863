import argparse
from pathlib import Path
from typing import Any

import pytest
from fakes import bar_recognizer, line_image, png, write_bar_folder, write_trocr

from quillread.cli.main import main
from quillread.cli.reading_options import add_reading_flags, read_options
from quillread.errors import ConfigError, UsageError
from quillread.evaluate.report import without_language
from quillread.language.catalog import LanguageConfig
from quillread.models.trocr.settings import GenerateChanges, GenerateConfig
from quillread.options import Provenance, ReadOptions
from quillread.reader import Reader
from quillread.recognize.ensemble import EnsembleReader
from quillread.recognize.recognizer import LineRecognizer


def parse(*flags: str) -> ReadOptions:
    parser = argparse.ArgumentParser()
    add_reading_flags(parser, "none")
    return read_options(parser.parse_args(flags))


def write_options(folder: Path, text: str) -> str:
    (folder / "options.yaml").write_text(text, encoding="utf-8")
    return str(folder / "options.yaml")


# --- models ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What `load` is called with."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def load(name: str, **options: Any) -> Any:
        calls.append((name, options))
        return bar_recognizer()

    monkeypatch.setattr("quillread.recognize.load.load", load)
    return calls


def test_one_model_reads_alone(asked):
    reader = Reader(parse("--model", "mine", "--threads", "3"), lines=True)
    ((name, options),) = asked
    assert (name, options["threads"]) == ("mine", 3)
    assert isinstance(reader._transcribe.recognizer, LineRecognizer)


def test_nothing_said_is_the_built_in_model(asked):
    Reader(parse(), lines=True)
    ((name, options),) = asked
    assert name == "builtin"
    assert options["language"] == LanguageConfig(("auto",), only_compact=True)
    assert options["variants"] == 1


def test_several_models_vote(asked):
    options = parse("--model", "builtin", "--model", "builtin", "--variants", "3")
    reader = Reader(options, lines=True)
    assert [(name, options["variants"]) for name, options in asked] == [("builtin", 3), ("builtin", 3)]
    assert isinstance(reader._transcribe.recognizer, EnsembleReader)
    assert options.models == ("builtin", "builtin")


def test_what_is_asked_for_is_told(tmp_path: Path):
    (tmp_path / "names.txt").write_text("Ann", encoding="utf-8")
    mine, names = str(write_bar_folder(tmp_path / "mine")), str(tmp_path / "names.txt")
    options = parse(*f"--model builtin --model {mine} --lm en@2 --lexicon {names} --correct --variants 2".split())
    told = Provenance(options)
    assert told["model"] == "builtin"
    assert [model["name"] for model in told["models"]] == ["builtin", mine]
    assert [(language["name"], language["weight"]) for language in told["languages"]] == [("en", 2.0)]
    assert [lexicon["name"] for lexicon in told["lexicons"]] == [names]
    assert (told["settings"]["correct"], told["settings"]["variants"]) == (True, 2)


@pytest.mark.parametrize(
    ("flags", "others"),
    [
        ("--lm auto", "--lm en --lm fr"),
        ("--lm en --lm fr", "--lm en --lm fr@2"),
        ("--correct", "--lm none --correct"),
        ("--lm none", "--lm none --correct"),
        ("--variants 1", "--variants 2"),
        ("--set pages=null", "--set pages=1-"),
        ("--beams 2", "--beams 3"),
    ],
)
def test_what_may_read_otherwise_has_another_fingerprint(flags: str, others: str):
    one, other = (Provenance(parse(*given.split())).fingerprint() for given in (flags, others))
    assert one != other


def test_what_reads_alike_has_the_same_fingerprint(tmp_path: Path):
    kept = Provenance(parse("--model", str(write_bar_folder(tmp_path / "mine")))).fingerprint()
    moved = Provenance(parse("--model", str((tmp_path / "mine").rename(tmp_path / "moved")))).fingerprint()
    assert kept == moved
    assert Provenance(parse("--lm", "auto", "--threads", "2")).fingerprint() == Provenance(parse()).fingerprint()


@pytest.mark.parametrize("number", ["0", "8"])
def test_variants_out_of_range_are_refused(number: str):
    with pytest.raises(ConfigError, match="variants must be 1 to 7, got"):
        parse("--variants", number)


def test_a_number_of_variants_is_a_number():
    with pytest.raises(SystemExit):
        parse("--variants", "x")


# --- how TrOCR generates text ----------------------------------------------------------------------------------------


def generate(*flags: str, **stored: object) -> GenerateConfig:
    """Read flags, and put them on top of the settings that are stored with a model."""
    return parse(*flags).generate.apply(GenerateConfig(**stored))  # type: ignore[arg-type]


def test_without_options_the_stored_settings_are_left_alone():
    assert parse().generate == GenerateChanges()
    assert generate(guard_tail=True) == GenerateConfig(guard_tail=True)


def test_options_go_on_top_of_the_stored_settings():
    config = generate("--beams", "3", "--no-guard-tail", "--rows", "split", guard_tail=True, split_long=2.0)
    assert config == GenerateConfig(beams=3, guard_tail=False, split_long=2.0, rows="split")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        (("--max-tokens", "40"), {"max_tokens": 40}),
        (("--length-penalty", "-0.5"), {"length_penalty": -0.5}),
        (("--no-repeat-ngram-size", "3"), {"no_repeat_ngram_size": 3}),
        (("--guard-repeats",), {"guard_repeats": True}),
        (("--guard-tail",), {"guard_tail": True}),
        (("--split-long", "2.5"), {"split_long": 2.5}),
        (("--rows", "flag"), {"rows": "flag"}),
    ],
)
def test_every_option_sets_its_setting(option: tuple[str, ...], value: dict[str, object]):
    assert generate(*option) == GenerateConfig(**value)  # type: ignore[arg-type]


def test_the_precision_is_asked_for_and_stored_with_no_model():
    assert parse("--precision", "bf16").generate == GenerateChanges(precision="bf16")
    assert generate("--precision", "bf16") == GenerateConfig()
    assert parse("--set", "generate.static_cache=true").generate == GenerateChanges(static_cache=True)
    assert generate("--set", "generate.static_cache=true") == GenerateConfig()


def test_no_splitting_is_asked_for_with_zero():
    assert generate("--split-long", "0", split_long=2.0).split_long is None


@pytest.mark.parametrize(("own", "count", "beams"), [(1, 0, 1), (1, 1, 4), (1, 3, 4), (1, 7, 8), (8, 2, 8), (3, 0, 3)])
def test_alternatives_bring_the_beams_that_they_need_and_narrow_no_search(own: int, count: int, beams: int):
    config = generate("--alternatives", str(count))
    assert config == GenerateConfig(alternatives=count)
    assert config.count_beams(own, 1 + count) == beams


def test_alternatives_keep_the_stored_beams():
    assert generate("--alternatives", "2", beams=6) == GenerateConfig(beams=6, alternatives=2)


def test_more_alternatives_than_beams_are_refused():
    with pytest.raises(ConfigError, match="alternatives"):
        generate("--alternatives", "4", "--beams", "2")
    with pytest.raises(ConfigError, match=r"generate\.alternatives must be at least 0 and below 100, got 100"):
        generate("--alternatives", "100")


def test_a_compact_model_has_no_such_options(tmp_path: Path):
    options = parse("--model", str(write_bar_folder(tmp_path / "mine")), "--beams", "2", "--guard-tail")
    message = r"generate\.beams, generate\.guard_tail: only for TrOCR models, and 'bars' is a compact"
    with pytest.raises(UsageError, match=message):
        Reader(options, lines=True)


def test_of_several_models_those_that_generate_are_asked(tmp_path: Path, asked):
    trocr = str(write_trocr(tmp_path / "trocr"))
    Reader(parse("--model", "builtin", "--model", trocr, "--beams", "3"), lines=True)
    assert [options["generate"] for _, options in asked] == [None, GenerateChanges(beams=3)]


# --- languages -------------------------------------------------------------------------------------------------------


def test_the_languages_are_those_named():
    assert parse("--lm", "en", "--lm", "my.lm@2").language() == LanguageConfig(("en", "my.lm@2"))
    assert parse("--lm", "none").language() is None


def test_compact_models_choose_by_themselves_where_the_command_says_so():
    assert parse().language() == LanguageConfig(("auto",), only_compact=True)
    assert without_language(parse()).language() is None


def test_a_lexicon_alone_goes_with_auto():
    config = LanguageConfig(("auto",), (Path("names.txt"),))
    assert without_language(parse("--lexicon", "names.txt")).language() == config


def test_correction_alone_leaves_what_is_measured_bare():
    config = LanguageConfig(("auto",), decode=False, correct=True)
    assert without_language(parse("--correct")).language() == config


@pytest.mark.parametrize("options", [("--lm", "none", "--lm", "en"), ("--lm", "none", "--lexicon", "names.txt")])
def test_options_that_contradict_each_other_are_refused(options: tuple[str, ...]):
    with pytest.raises(UsageError):
        parse(*options)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--lm", "enn"), 2, "did you mean 'en'"),
        (("--lm", "en@0"), 2, "above 0"),
        (("--lm", "auto", "--lm", "en"), 2, "cannot be mixed"),
        (("--lexicon", "none.txt"), 3, "none.txt"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, options: tuple[str, ...], code: int, message: str, capsys):
    (tmp_path / "line.png").write_bytes(png(line_image("some text", 48)))
    assert main(["read", "--lines", str(tmp_path / "line.png"), *options]) == code
    assert message in capsys.readouterr().err


# --- files and settings ----------------------------------------------------------------------------------------------


def test_a_file_sets_any_option(tmp_path: Path):
    path = write_options(tmp_path, "lm: [fr]\nvariants: 3\nread: {pdf_dpi: 400}\n")
    options = parse("--config", path)
    assert (options.lm, options.variants, options.read.pdf_dpi) == (("fr",), 3, 400)


def test_flags_go_before_the_file_and_settings_before_flags(tmp_path: Path):
    path = write_options(tmp_path, "variants: 2\nthreads: 2\ngenerate: {beams: 2, rows: flag}\n")
    options = parse("--config", path, "--variants", "3", "--threads", "3", "--beams", "3", "--set", "threads=4")
    assert (options.variants, options.threads) == (3, 4)
    assert options.generate == GenerateChanges(beams=3, rows="flag")


def test_an_unknown_option_of_a_file_is_named_with_the_nearest(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"unknown setting 'varaints' \(did you mean 'variants'\?\)"):
        parse("--config", write_options(tmp_path, "varaints: 2\n"))


def test_an_unknown_option_of_set_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown setting 'read.pdf_dp' \(did you mean 'pdf_dpi'\?\)"):
        parse("--set", "read.pdf_dp=200")


def test_a_file_and_flags_build_the_same_options_as_python(tmp_path: Path):
    flags = parse("--lm", "fr", "--variants", "2", "--set", "read.pdf_dpi=400", "--model", "builtin")
    path = write_options(tmp_path, "{lm: [fr], variants: 2, read: {pdf_dpi: 400}, models: [builtin]}")
    made = ReadOptions().changed(lm="fr", variants=2, read={"pdf_dpi": 400}, model="builtin")
    assert flags == parse("--config", path) == made
