import shutil
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from fakes import bar_info, write_trocr
from runs import train_config

from quillread import config
from quillread.data.spec import parse_spec
from quillread.errors import ConfigError
from quillread.images.augment import STEPS
from quillread.images.fit import CanvasConfig, InkConfig
from quillread.images.preprocess import PreprocessConfig
from quillread.models.catalog import SHIPPED, resolve
from quillread.models.model_folder import ONNX_NAME, ModelInfo, read_info, write_info
from quillread.train.config import ScheduleConfig, TrainConfig, assemble, read_settings
from quillread.train.family_settings import CompactPart, LabelsConfig, LoraConfig, TrocrPart
from quillread.train.presets import preset_path, presets

DATA = Path(__file__).parents[2] / "data"


def written(specs: object) -> list[str]:
    return [str(spec) for spec in specs]  # type: ignore[attr-defined]


def test_there_are_presets():
    assert "personal" in presets()
    assert all((files("quillread.train") / "presets" / f"{name}.yaml").is_file() for name in presets())


@pytest.mark.parametrize("name", presets())
def test_a_preset_can_be_read(name: str):
    loaded = config.load(TrainConfig, preset_path(name), ["root=data"])
    assert not any(spec.needs_root for spec in loaded.placed((*loaded.data, *loaded.validation)))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_preset_of_a_model_that_ships_measures_ink_as_it_does(name: str):
    loaded = config.load(TrainConfig, preset_path(name), ["root=data"])
    assert loaded.compact.ink == read_info(resolve(name)).ink


@pytest.mark.parametrize("name", presets())
def test_a_mistyped_setting_of_a_preset_names_the_nearest(name: str):
    with pytest.raises(ConfigError, match=r"unknown setting 'schedule\.warmpu' \(did you mean 'warmup'\?\)"):
        config.load(TrainConfig, preset_path(name), ["schedule.warmpu=0.1"])


@pytest.mark.parametrize(
    "written",
    [
        train_config(data=["hub:x@0.5", "fonts:f?text=a&text=b"], root=Path("data"), epochs=3, shortcut=0.2),
        train_config(family="trocr", tuning={"lora": {"rank": 3}}, canvas={"height": 64, "width": 512}),
    ],
    ids=["compact", "trocr"],
)
def test_the_configuration_is_read_back_as_it_was_written(written: TrainConfig):
    assert config.build(TrainConfig, config.dump(written)) == written


def test_only_the_settings_of_the_family_are_written():
    assert config.dump(TrainConfig()).keys() & {"family", "charset", "tuning"} == {"family", "charset"}
    trocr = config.dump(TrainConfig(part=TrocrPart()))
    assert trocr["family"] == "trocr"
    assert trocr.keys() & {"charset", "network", "tuning"} == {"tuning"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["tuning.lora.rank=8"], "setting 'tuning' is for family 'trocr', while this is family 'compact'"),
        (
            ["family=trocr", "teacher=builtin"],
            "setting 'teacher' is for family 'compact', while this is family 'trocr'",
        ),
        (["family=trocr", "shortcut=0"], "setting 'shortcut' is for family 'compact'"),
        (["tunning.compile=true"], "unknown setting 'tunning' (did you mean 'tuning'?)"),
        (["family=trcor"], "family: 'trcor' is not one of 'compact', 'trocr'"),
        (["part.charset=abc"], "unknown setting 'part'"),
    ],
)
def test_a_setting_of_the_other_family_is_refused(settings: list[str], message: str):
    with pytest.raises(ConfigError) as caught:
        config.build(TrainConfig, config.apply_overrides({}, settings))
    assert message in caught.value.message


def test_the_settings_of_a_family_are_asked_for_by_its_name():
    assert TrainConfig().compact == CompactPart()
    with pytest.raises(ConfigError, match="not for TrOCR"):
        _ = TrainConfig().trocr
    with pytest.raises(ConfigError, match="not for a compact network"):
        _ = TrainConfig(part=TrocrPart()).compact


@pytest.mark.parametrize("name", ["compact-run-0.1.0.json", "trocr-run-0.1.0.json"])
def test_records_of_runs_with_the_settings_of_both_families_are_read(name: str):
    record = config.read_yaml(DATA / name)
    assert {"charset", "tuning"} <= record.keys()
    loaded = assemble(read_settings(DATA / name), overrides=["start=null"])
    assert (loaded.family, loaded.name, loaded.epochs) == (record["family"], record["name"], record["epochs"])
    sources = record.pop("data"), record.pop("validation")
    assert [spec.where for spec in loaded.data + loaded.validation] == [
        parse_spec(s).where for part in sources for s in part
    ]
    kept = config.dump(loaded)
    # Settings that came later have their defaults.
    assert [
        name
        for name in kept.keys() & record.keys() - {"start"}
        if config.merge({name: kept[name]}, {name: record[name]})[name] != kept[name]
    ] == []


def test_a_record_of_another_family_keeps_what_is_its_own():
    assert read_settings(DATA / "trocr-run-0.1.0.json")["tuning"]["lora"]["rank"] == 8
    assert read_settings(DATA / "compact-run-0.1.0.json")["network"]["height"] == 64


def test_root_is_filled_in():
    specs = train_config(data=["recombined:hub:{root}/a?cuts={root}/c.jsonl", "csv:b"]).data
    placed = TrainConfig(root=Path("/data")).placed(specs)
    assert written(placed) == ["recombined:hub:/data/a?cuts=/data/c.jsonl", "csv:b"]


def test_a_source_below_root_needs_it():
    with pytest.raises(ConfigError, match="which is not set") as caught:
        TrainConfig().placed(train_config(data=["hub:{root}/a"]).data)
    assert "set root to a folder" in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("batch_size=0", "batch_size must be at least 1"),
        ("epochs=0", "epochs must be at least 1"),
        ("micro_batch=-1", "micro_batch must be at least 0"),
        ("ink.height=64", r"network\.height 48 and ink\.height 64 differ"),
        ("shortcut=-1", "shortcut must be at least 0"),
        ("schedule.shape=linaer", "'linaer' is not one of"),
        ("augment.blur=2", r"augment\.blur must be a probability"),
        ("seed=-1", "seed must be at least 0"),
        ("group_balance=1.5", "group_balance must be from 0 to 1"),
        ("average_decay=1", "average_decay must be at least 0 and below 1"),
        ("workers=-1", "workers must be at least 0"),
        ("epoch_lines=0", "epoch_lines must be at least 1"),
        ("schedule.learning_rate=-1", "learning_rate"),
        ("network.sequence_width=0", "at least 1"),
        ("ink.paper_percentile=300", "percentile"),
        ("data=[foldr:x]", r"data\[0\]: unknown kind of data 'foldr' .* \(did you mean 'folder'\?\)"),
        ("data=[no-such-folder]", r"neither a folder nor of the form kind:where \(name a folder"),
    ],
)
def test_a_setting_out_of_range_is_refused(setting: str, message: str):
    with pytest.raises(ConfigError, match=message):
        config.build(TrainConfig, config.apply_overrides({}, [setting]))


def test_a_source_that_is_not_parsed_is_refused():
    with pytest.raises(ConfigError, match="'folder:x': is not a parsed source"):
        TrainConfig(data=("folder:x",))  # type: ignore[arg-type]


def test_a_start_that_is_no_name_is_refused():
    with pytest.raises(ConfigError, match="start: expected str, got 5"):
        assemble({}, overrides=["start=5"])


def test_a_schedule_that_does_not_fit_into_a_run_is_refused():
    with pytest.raises(ConfigError, match="do not fit into one run"):
        ScheduleConfig(shape="warmup_stable_decay", warmup=0.7, decay=0.4)


def test_paths_are_settled_so_that_a_run_goes_on_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("lines", "start", "tokens"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    relative = train_config(
        family="trocr",
        data=["folder:lines?split=train@2", "hub:org/lines", "hub:{root}/a"],
        start="start",
        tokenizer="tokens",
        cache="new",
    )
    settled = relative.settled()
    assert written(settled.data) == [f"folder:{tmp_path}/lines?split=train@2", "hub:org/lines", "hub:{root}/a"]
    assert (settled.start, settled.trocr.tokenizer, settled.cache) == (
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
    private = train_config(
        family="trocr",
        data=[f"folder:{tmp_path}/lines@2"],
        validation=["hub:org/lines?revision=a/b"],
        start=str(tmp_path / "start"),
        tokenizer=tmp_path / "tokens",
        root=tmp_path,
        cache=tmp_path,
    )
    assert str(tmp_path) not in str(config.dump(private.public()))
    assert written(private.public().data) == ["folder:lines@2"]
    assert private.public().validation == private.validation


def test_the_classic_preset_is_the_recipe_to_the_letter():
    classic = config.load(TrainConfig, preset_path("trocr-classic"))
    assert classic.start == "microsoft/trocr-base-handwritten"
    assert classic.preprocess.steps == ("grayscale", "non_local_means", "median", "adaptive_threshold")
    assert classic.trocr.canvas == CanvasConfig(224, 224, "squash")
    assert classic.trocr.labels == LabelsConfig(128, "truncate")
    assert {name for name in STEPS if getattr(classic.augment, name) > 0} == {"perspective"}
    schedule = classic.schedule
    assert (schedule.learning_rate, schedule.warmup, schedule.shape) == (5e-5, 0.1, "linear")
    assert (classic.precision, classic.trocr.tuning.gradient_checkpointing, classic.micro_batch) == ("auto", True, 0)
    assert (classic.patience, classic.metric) == (3, "cer")


def test_a_folder_beside_does_not_take_the_place_of_a_shipped_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "builtin").mkdir()
    (tmp_path / "own").mkdir()
    monkeypatch.chdir(tmp_path)
    settled = train_config(start="builtin", teacher="own").settled()
    assert (settled.start, settled.teacher) == ("builtin", str(tmp_path / "own"))
    assert (settled.public().start, settled.public().teacher) == ("builtin", "own")


SHAPE = {"height": 64, "sequence_width": 32}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A compact model that has its own measures."""
    info = bar_info(ink=InkConfig(height=64), preprocess=PreprocessConfig(steps=("grayscale", "median")))
    write_info(replace(info, provenance={"training": {"network": SHAPE}}), tmp_path / "mine")
    (tmp_path / "mine" / ONNX_NAME).write_bytes(b"weights")
    return tmp_path / "mine"


def test_a_run_from_the_built_in_model_is_a_personal_one():
    made = TrainConfig.starting_from("builtin", data=["hub:org/lines"])
    assert (made.start, made.name, made.epoch_lines) == ("builtin", "builtin-finetuned", 480)
    assert written(made.data) == ["hub:org/lines"]
    assert (made.compact.ink.height, made.compact.network.sequence_blocks) == (64, 4)


def test_a_run_from_a_model_has_what_belongs_to_its_weights(model: Path):
    made = TrainConfig.starting_from(str(model))
    info = bar_info()
    assert (made.compact.charset, made.compact.ink.height, made.preprocess.steps) == (
        info.charset,
        64,
        ("grayscale", "median"),
    )
    assert made.compact.network.sequence_width == 32
    assert (made.start, made.name, made.batch_size) == (str(model), f"{info.name}-finetuned", 16)


def test_changes_are_merged_into_groups_and_go_before_all_else(model: Path):
    changes = {"network": {"sequence_blocks": 1}, "schedule": ScheduleConfig(learning_rate=1.0), "name": "other"}
    made = TrainConfig.starting_from(str(model), **changes)
    assert (made.compact.network.sequence_blocks, made.compact.network.sequence_width) == (1, 32)
    assert (made.schedule, made.name) == (ScheduleConfig(learning_rate=1.0), "other")


def test_a_change_that_is_no_setting_is_refused(model: Path):
    with pytest.raises(ConfigError, match=r"unknown setting 'epoch' \(did you mean 'epochs'\?\)"):
        TrainConfig.starting_from(str(model), epoch=3)


def test_a_run_from_trocr_keeps_its_canvas(tmp_path: Path):
    folder = write_trocr(tmp_path / "model", "base-handwritten")
    canvas = CanvasConfig(32, 128, "pad")
    write_info(ModelInfo(family="trocr", name="mine", canvas=canvas), folder)
    made = TrainConfig.starting_from(str(folder), tuning={"lora": {"rank": 2}})
    assert (made.family, made.trocr.canvas, made.trocr.tuning.lora) == ("trocr", canvas, LoraConfig(rank=2))
    assert (made.name, made.patience) == ("mine-finetuned", 3)


def test_a_file_goes_before_the_model_and_overrides_before_the_file(model: Path):
    document = {"epochs": 3, "name": "faster", "preprocess": {"steps": ["grayscale"]}}
    made = assemble(document, str(model), ["epochs=4", "network.sequence_kernel=3"])
    assert (made.epochs, made.name, made.preprocess.steps) == (4, "faster", ("grayscale",))
    assert (made.compact.network.sequence_kernel, made.compact.network.sequence_width) == (3, 32)
    assert made.compact.charset == bar_info().charset


def test_a_start_that_a_file_names_lends_what_belongs_to_its_weights(model: Path):
    assert assemble({"start": str(model)}).compact.network.sequence_width == 32
    open_model = assemble({"start": "open"})
    assert (open_model.compact.ink.height, open_model.compact.network.blocks) == (64, (1, 1, 1, 1))


def test_settings_of_another_family_than_the_model_are_refused(model: Path):
    with pytest.raises(ConfigError, match="is for family 'trocr', and the model to start from is of family 'compact'"):
        assemble(read_settings("trocr-base"), str(model), where="trocr-base")


def test_a_file_of_settings_may_have_any_name(tmp_path: Path):
    shutil.copy(preset_path("personal"), tmp_path / "mine.txt")
    assert read_settings(tmp_path / "mine.txt") == read_settings("personal")
    with pytest.raises(ConfigError, match=r"neither a file nor a preset \(did you mean 'personal'\?\)"):
        read_settings("personnal")
