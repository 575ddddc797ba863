from importlib.resources import files
from pathlib import Path

import pytest

from quillread import config
from quillread.data.spec import parse_spec
from quillread.errors import ConfigError
from quillread.train.config import ScheduleConfig, TrainConfig

PRESETS = sorted(Path(str(files("quillread.train") / "presets")).glob("*.yaml"))


def test_there_are_presets():
    assert PRESETS


@pytest.mark.parametrize("path", PRESETS, ids=[p.stem for p in PRESETS])
def test_a_preset_can_be_read(path: Path):
    loaded = config.load(TrainConfig, path, ["root=data"])
    for source in loaded.placed((*loaded.data, *loaded.validation)):
        parse_spec(source)


@pytest.mark.parametrize("path", PRESETS, ids=[p.stem for p in PRESETS])
def test_a_mistyped_setting_of_a_preset_names_the_nearest(path: Path):
    with pytest.raises(ConfigError, match=r"unknown setting 'schedule\.warmpu' \(did you mean 'warmup'\?\)"):
        config.load(TrainConfig, path, ["schedule.warmpu=0.1"])


def test_the_configuration_is_read_back_as_it_was_written():
    written = TrainConfig(data=("hub:x@0.5",), root=Path("data"), epochs=3)
    assert config.build(TrainConfig, config.dump(written)) == written


def test_root_is_filled_in():
    assert TrainConfig(root=Path("/data")).placed(("hub:{root}/a", "csv:b")) == ["hub:/data/a", "csv:b"]


def test_a_source_below_root_needs_it():
    with pytest.raises(ConfigError, match="which is not set") as caught:
        TrainConfig().placed(("hub:{root}/a",))
    assert "--set root=DIR" in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("batch_size=0", "batch_size must be at least 1"),
        ("epochs=0", "epochs must be at least 1"),
        ("micro_batch=-1", "micro_batch must be at least 0"),
        ("ink.height=64", r"network\.height 48 and ink\.height 64 differ"),
        ("schedule.shape=linaer", "'linaer' is not one of"),
        ("augment.blur=2", r"augment\.blur must be a probability"),
        ("seed=-1", "seed must be at least 0"),
        ("workers=-1", "workers must be at least 0"),
        ("epoch_lines=0", "epoch_lines must be at least 1"),
        ("schedule.learning_rate=-1", "learning_rate"),
        ("network.sequence_width=0", "at least 1"),
        ("ink.paper_percentile=300", "percentile"),
    ],
)
def test_a_setting_out_of_range_is_refused(setting: str, message: str):
    with pytest.raises(ConfigError, match=message):
        config.build(TrainConfig, config.apply_overrides({}, [setting]))


def test_a_schedule_that_does_not_fit_into_a_run_is_refused():
    with pytest.raises(ConfigError, match="do not fit into one run"):
        ScheduleConfig(shape="warmup_stable_decay", warmup=0.7, decay=0.4)
