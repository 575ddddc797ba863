from importlib.resources import files
from pathlib import Path

import pytest

from quillread import config
from quillread.data.spec import parse_spec
from quillread.errors import ConfigError
from quillread.images.augment import STEPS
from quillread.images.fit import CanvasConfig
from quillread.train.config import LabelsConfig, ScheduleConfig, TrainConfig

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


def test_paths_are_settled_so_that_a_run_goes_on_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("lines", "start", "tokens"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    relative = TrainConfig(
        data=("folder:lines?split=train@2", "hub:org/lines", "hub:{root}/a"),
        start="start",
        tokenizer=Path("tokens"),
        cache=Path("new"),
    )
    settled = relative.settled()
    assert settled.data == (f"folder:{tmp_path}/lines?split=train@2", "hub:org/lines", "hub:{root}/a")
    assert (settled.start, settled.tokenizer, settled.cache) == (
        str(tmp_path / "start"),
        tmp_path / "tokens",
        tmp_path / "new",
    )
    assert settled.settled() == settled


def test_a_name_of_the_hub_is_no_path():
    assert TrainConfig(start="org/model@rev").settled().start == "org/model@rev"


def test_what_travels_with_a_model_names_no_folders_of_the_machine(tmp_path: Path):
    for name in ("lines", "start", "tokens"):
        (tmp_path / name).mkdir()
    private = TrainConfig(
        data=(f"folder:{tmp_path}/lines@2",),
        validation=("hub:org/lines?revision=a/b",),
        start=str(tmp_path / "start"),
        tokenizer=tmp_path / "tokens",
        root=tmp_path,
        cache=tmp_path,
    )
    assert str(tmp_path) not in str(config.dump(private.public()))
    assert private.public().data == ("folder:lines@2",)
    assert private.public().validation == private.validation


def test_the_classic_preset_is_the_recipe_to_the_letter():
    classic = config.load(TrainConfig, next(path for path in PRESETS if path.stem == "trocr-classic"))
    assert classic.start == "microsoft/trocr-base-handwritten"
    assert classic.preprocess.steps == ("grayscale", "non_local_means", "median", "adaptive_threshold")
    assert classic.canvas == CanvasConfig(224, 224, "squash")
    assert classic.labels == LabelsConfig(128, "truncate")
    assert {name for name in STEPS if getattr(classic.augment, name) > 0} == {"perspective"}
    schedule = classic.schedule
    assert (schedule.learning_rate, schedule.warmup, schedule.shape) == (5e-5, 0.1, "linear")
    assert (classic.precision, classic.tuning.gradient_checkpointing, classic.micro_batch) == ("auto", True, 0)
    assert (classic.patience, classic.metric) == (3, "cer")


def test_trocr_has_no_teacher():
    with pytest.raises(ConfigError, match="teacher is for the compact family"):
        TrainConfig(family="trocr", teacher="builtin")


def test_a_folder_beside_does_not_take_the_place_of_a_shipped_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "builtin").mkdir()
    (tmp_path / "own").mkdir()
    monkeypatch.chdir(tmp_path)
    settled = TrainConfig(start="builtin", teacher="own").settled()
    assert (settled.start, settled.teacher) == ("builtin", str(tmp_path / "own"))
    assert (settled.public().start, settled.public().teacher) == ("builtin", "own")
