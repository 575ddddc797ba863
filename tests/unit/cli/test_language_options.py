import argparse
from pathlib import Path

import pytest
from fakes import line_image, png
from quillread.cli.language_options import add_language_options, language_config

from quillread.cli.main import main
from quillread.errors import UsageError
from quillread.language.catalog import LanguageConfig


def parse(*options: str, auto: bool = True) -> LanguageConfig | None:
    parser = argparse.ArgumentParser()
    add_language_options(parser, "auto")
    return language_config(parser.parse_args(options), auto=auto)


def test_the_languages_are_those_named():
    assert parse("--lm", "en", "--lm", "my.lm@2") == LanguageConfig(("en", "my.lm@2"))
    assert parse("--lm", "none") is None


def test_compact_models_choose_by_themselves_where_the_command_says_so():
    assert parse() == LanguageConfig(("auto",), only_compact=True)
    assert parse(auto=False) is None


def test_a_lexicon_alone_goes_with_auto():
    assert parse("--lexicon", "names.txt", auto=False) == LanguageConfig(("auto",), (Path("names.txt"),))


@pytest.mark.parametrize("options", [("--lm", "none", "--lm", "en"), ("--lm", "none", "--lexicon", "names.txt")])
def test_options_that_contradict_each_other_are_refused(options):
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
def test_what_cannot_be_used_is_named(tmp_path: Path, options, code: int, message: str, capsys):
    (tmp_path / "line.png").write_bytes(png(line_image("some text", 48)))
    assert main(["read", "--lines", str(tmp_path / "line.png"), *options]) == code
    assert message in capsys.readouterr().err
