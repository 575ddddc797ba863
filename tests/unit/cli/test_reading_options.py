import argparse
from typing import Any

import pytest
from fakes import bar_recognizer
from quillread.cli.generate_options import add_generate_options
from quillread.cli.readers import add_reader_options, load_reader, reading_settings

from quillread.cli.options import add_model_options
from quillread.errors import UsageError
from quillread.language.catalog import LanguageConfig
from quillread.recognize.ensemble import EnsembleReader
from quillread.recognize.recognizer import LineRecognizer


def parse(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_model_options(parser)
    add_generate_options(parser)
    add_reader_options(parser, "none")
    return parser.parse_args(options)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What `load` is called with."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def load(name: str, **options: Any) -> LineRecognizer:
        calls.append((name, options))
        return bar_recognizer()

    monkeypatch.setattr("quillread.recognize.load.load", load)
    return calls


def test_one_model_reads_alone(asked):
    assert isinstance(load_reader(parse("--model", "mine"), auto=False), LineRecognizer)
    assert [name for name, _ in asked] == ["mine"]


def test_nothing_said_is_the_built_in_model(asked):
    load_reader(parse(), auto=True)
    (call,) = asked
    name, options = call
    assert name == "builtin"
    assert options["language"] == LanguageConfig(("auto",), only_compact=True)
    assert options["variants"] == 1


def test_several_models_vote_and_are_loaded_when_needed(asked):
    args = parse("--model", "builtin", "--model", "builtin", "--variants", "3")
    assert isinstance(load_reader(args, auto=False), EnsembleReader)
    assert [(name, options["variants"]) for name, options in asked] == [("builtin", 3)]
    assert args.model == "builtin"


def test_an_option_of_trocr_is_refused_for_a_compact_model(asked):
    with pytest.raises(UsageError, match="--beams: only for TrOCR models"):
        load_reader(parse("--beams", "3"), auto=False)


def test_what_is_asked_for_is_told():
    assert reading_settings(parse()) == {}
    args = parse("--model", "a", "--model", "b", "--lm", "en", "--lexicon", "n.txt", "--correct", "--variants", "2")
    assert reading_settings(args) == {
        "models": ["a", "b"],
        "lm": ["en"],
        "lexicon": ["n.txt"],
        "correct": True,
        "variants": 2,
    }


@pytest.mark.parametrize("number", ["0", "8", "x"])
def test_variants_out_of_range_are_refused(number: str):
    with pytest.raises(SystemExit):
        parse("--variants", number)
