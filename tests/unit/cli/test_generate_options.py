import argparse
from pathlib import Path

import pytest
from quillread.cli.generate_options import add_generate_options, generate_config

from quillread.errors import ConfigError, UsageError
from quillread.models.catalog import ModelEntry
from quillread.models.model_folder import ModelInfo
from quillread.models.trocr.settings import GenerateConfig


def configure(*options: str, family: str = "trocr", **stored: object) -> GenerateConfig | None:
    """Read options for a model with stored settings."""
    parser = argparse.ArgumentParser()
    add_generate_options(parser)
    info = ModelInfo(family=family, name="letters", generate=GenerateConfig(**stored))  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        entry = ModelEntry("letters", Path("letters"), info, 0)
        patch.setattr("quillread.models.catalog.describe", lambda name: entry)
        return generate_config(parser.parse_args(options), "letters")


def test_without_options_the_stored_settings_are_left_alone():
    assert configure(guard_tail=True) is None


def test_options_go_on_top_of_the_stored_settings():
    config = configure("--beams", "3", "--no-guard-tail", "--rows", "split", guard_tail=True, split_long=2.0)
    assert config == GenerateConfig(beams=3, guard_tail=False, split_long=2.0, rows="split")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        (("--max-tokens", "40"), {"max_tokens": 40}),
        (("--guard-repeats",), {"guard_repeats": True}),
        (("--guard-tail",), {"guard_tail": True}),
        (("--split-long", "2.5"), {"split_long": 2.5}),
        (("--rows", "flag"), {"rows": "flag"}),
    ],
)
def test_every_option_sets_its_setting(option: tuple[str, ...], value: dict[str, object]):
    assert configure(*option) == GenerateConfig(**value)  # type: ignore[arg-type]


def test_no_splitting_is_asked_for_with_zero():
    config = configure("--split-long", "0", split_long=2.0)
    assert config is not None and config.split_long is None


@pytest.mark.parametrize(("count", "beams"), [(1, 4), (3, 4), (7, 8)])
def test_alternatives_bring_the_beams_that_they_need(count: int, beams: int):
    assert configure("--alternatives", str(count)) == GenerateConfig(beams=beams, alternatives=count)


def test_alternatives_keep_the_stored_beams():
    assert configure("--alternatives", "2", beams=6) == GenerateConfig(beams=6, alternatives=2)


def test_more_alternatives_than_beams_are_refused():
    with pytest.raises(ConfigError, match="alternatives"):
        configure("--alternatives", "4", "--beams", "2")


def test_a_compact_model_has_no_such_options():
    with pytest.raises(UsageError, match=r"--beams, --guard-tail: only for TrOCR models, and 'letters' is a compact"):
        configure("--beams", "2", "--guard-tail", family="compact")


def test_a_compact_model_without_options_is_fine():
    assert configure(family="compact") is None
