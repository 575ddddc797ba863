import argparse
import json

import pytest
from fakes import line_image, png, write_trocr

from quillread.cli.data import configure, model_limits
from quillread.errors import ModelError, UsageError
from quillread.models.catalog import describe
from quillread.models.trocr.export import export


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_trocr(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_trocr(tmp_path_factory.mktemp("models") / "small", "small")


def check(*arguments):
    parser = argparse.ArgumentParser(prog="quill data")
    configure(parser)
    args = parser.parse_args(["check", *map(str, arguments)])
    return args.run(args)


@pytest.fixture
def lines(tmp_path):
    """A folder of one line."""
    folder = tmp_path / "lines"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(line_image("the line, naïve")))
    (folder / "a.txt").write_text("the line, naïve", encoding="utf-8")
    return folder


def test_compact_model_knows_its_charset():
    assert model_limits("builtin").unknown("aſ") == {"ſ": 1}


def test_compact_model_needs_columns():
    # 64 pixels high, a column for every 4.
    assert model_limits("builtin").misfit("abcdefghijklmnopq", 1.0) == ("too_narrow", "16 columns, needs 17")


def test_trocr_model_is_limited_by_its_positions(base):
    limits = model_limits(str(base))
    assert limits.misfit("a" * 511, 1.0) is None
    assert limits.misfit("a" * 512, 1.0) == ("too_long", "513 tokens, at most 512")


def test_fewer_tokens_can_be_asked_for(base):
    assert model_limits(str(base), 4).misfit("abcd", 1.0) == ("too_long", "5 tokens, at most 4")


def test_more_tokens_than_positions_cannot_be_had(base):
    assert model_limits(str(base), 1000).misfit("a" * 512, 1.0) == ("too_long", "513 tokens, at most 512")


def test_compact_model_has_no_tokens_to_limit():
    with pytest.raises(UsageError, match="not tokens"):
        model_limits("builtin", 20)


def test_an_export_has_the_limits_of_its_model(base, small, tmp_path):
    for folder in (base, small):
        export(describe(str(folder)), tmp_path / folder.name, "float32")
        own, exported = model_limits(str(folder)), model_limits(str(tmp_path / folder.name))
        for length in (511, 512):
            assert exported.misfit("a" * length, 1.0) == own.misfit("a" * length, 1.0)
        assert exported.unknown("the line, naïve") == own.unknown("the line, naïve")


def test_decoder_without_positions_is_refused(tmp_path):
    folder = write_trocr(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["decoder"]["max_position_embeddings"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match="positions"):
        model_limits(str(folder))


def test_check_names_characters_that_the_tokenizer_lacks(lines, small, capsys):
    assert check(lines, "--model", small) == 3
    assert "characters that the model cannot write: 1\n  'ï'" in capsys.readouterr().out


def test_check_of_the_same_line_for_another_tokenizer_finds_nothing(lines, base):
    assert check(lines, "--model", base) == 0


def test_check_names_texts_of_too_many_tokens(lines, base, tmp_path):
    assert check(lines, "--model", base, "--max-tokens", 5, "--json", tmp_path / "check.json") == 3
    report = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))
    assert [(fault["kind"], fault["id"]) for fault in report["faults"]] == [("too_long", "a.png")]
