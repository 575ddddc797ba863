import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fakes import bar_info

from quillread.cli import train
from quillread.cli.main import main
from quillread.errors import MissingExtraError
from quillread.images.fit import InkConfig
from quillread.models.model_folder import ONNX_NAME, write_info


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """The runs that were asked for; none is made, and torch is not imported."""
    asked: list[SimpleNamespace] = []

    def finetune(config: Any, output: Path, *, resume: bool, overwrite: bool, progress: bool) -> SimpleNamespace:
        asked.append(
            SimpleNamespace(config=config, output=output, resume=resume, overwrite=overwrite, progress=progress)
        )
        ends = {"interrupted": signal.SIGINT, "terminated": signal.SIGTERM, "hung-up": 1}.get(output.name)
        return SimpleNamespace(model=output / "model", finished=ends is None, signal=ends)

    def finetune_folds(config: Any, folds: int, output: Path, **how: Any) -> Iterator[SimpleNamespace]:
        for number in range(1, folds + 1):
            result = finetune(config, output / f"fold-{number}", **how)
            result.finished, result.signal = output.name != "interrupted", signal.SIGINT
            yield result

    module = ModuleType("quillread.train.finetune")
    module.finetune, module.finetune_folds = finetune, finetune_folds  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "quillread.train.finetune", module)
    monkeypatch.setattr(train, "require", lambda *_: None)
    return asked


def written(specs: Iterable[Any]) -> list[str]:
    return [str(spec) for spec in specs]


def settings(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_run_ends_with_the_folder_of_its_model(
    runs: list[SimpleNamespace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["train", "--data", "folder:x", "--output", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'model'}\n"
    assert f"quill read --model {tmp_path / 'model'} PAGE" in err


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        ([], "builtin"),
        (["--model", "random"], None),
        (["--config", "personal"], "builtin"),
        (["--config", "builtin"], None),
        (["--set", "start=null"], None),
        (["--set", "network.height=64", "--set", "ink.height=64"], None),
        (["--set", "family=trocr"], None),
    ],
)
def test_a_run_starts_from_the_built_in_model_unless_told_otherwise(
    runs: list[SimpleNamespace], tmp_path: Path, arguments: list[str], start: str | None
):
    assert main(["train", "--data", "folder:x", "--output", str(tmp_path), *arguments]) == 0
    assert runs[0].config.start == start


@pytest.mark.parametrize(("end", "code"), [("terminated", 143), ("hung-up", 129)])
def test_a_run_that_a_signal_ended_says_so_with_its_exit_code(runs: list[SimpleNamespace], end: str, code: int):
    assert main(["train", "--output", end]) == code


def test_an_interrupted_run_says_how_to_go_on(runs: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]):
    assert main(["train", "--output", "interrupted"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("quill: interrupted; go on with: quill train --resume --output interrupted")


def test_options_reach_the_run(runs: list[SimpleNamespace]):
    main(["train", "--data", "folder:x", "--data", "folder:y", "--set", "epochs=3", "--output", "o", "--resume"])
    (run,) = runs
    assert (written(run.config.data), run.config.epochs) == (["folder:x", "folder:y"], 3)
    assert (run.output, run.resume) == (Path("o"), True)


def test_data_of_the_command_line_takes_the_place_of_the_file_s(runs: list[SimpleNamespace], tmp_path: Path):
    path = settings(tmp_path / "c.yaml", "data: [folder:a]\nvalidation: [folder:b]\nepochs: 2\n")
    main(["train", "--config", path, "--data", "folder:x", "--output", "o"])
    config = runs[0].config
    assert (written(config.data), config.validation, config.epochs) == (["folder:x"], (), 2)


def test_validation_of_the_command_line_leaves_the_data_of_the_file(runs: list[SimpleNamespace], tmp_path: Path):
    path = settings(tmp_path / "c.yaml", "data: [folder:a]\nvalidation: [folder:b]\n")
    main(["train", "--config", path, "--validation", "folder:v", "--output", "o"])
    assert (written(runs[0].config.data), written(runs[0].config.validation)) == (["folder:a"], ["folder:v"])


def test_columns_are_those_of_all_data_of_the_run(runs: list[SimpleNamespace], tmp_path: Path):
    path = settings(tmp_path / "c.yaml", "data: ['hub:a', 'strokes:s']\nvalidation: ['csv:b']\n")
    main(["train", "--config", path, "--text-column", "label", "--output", "o"])
    config = runs[0].config
    assert written(config.data) == ["hub:a?text-column=label", "strokes:s"]
    assert written(config.validation) == ["csv:b?text-column=label"]


def test_a_setting_goes_before_the_file(runs: list[SimpleNamespace], tmp_path: Path):
    path = settings(tmp_path / "c.yaml", "schedule: {learning_rate: 1e-3, warmup: 0.1}\n")
    main(["train", "--config", path, "--set", "schedule.warmup=0.2", "--output", "o"])
    schedule = runs[0].config.schedule
    assert (schedule.learning_rate, schedule.warmup) == (1e-3, 0.2)


@pytest.mark.parametrize("name", train.presets())
def test_every_preset_is_a_valid_configuration(name: str, runs: list[SimpleNamespace]):
    assert main(["train", "--config", name, "--data", "folder:x", "--output", "o"]) == 0
    assert runs[0].config.name == name


def test_a_run_from_a_model_takes_its_charset_and_preprocessing(runs: list[SimpleNamespace], tmp_path: Path):
    info = bar_info(
        ink=InkConfig(height=64), provenance={"training": {"network": {"height": 64, "sequence_width": 32}}}
    )
    write_info(info, tmp_path / "mine")
    (tmp_path / "mine" / ONNX_NAME).write_bytes(b"weights")
    assert main(["train", "--model", str(tmp_path / "mine"), "--output", "o"]) == 0
    config = runs[0].config
    assert (config.start, config.compact.charset, config.compact.ink) == (
        str(tmp_path / "mine"),
        info.charset,
        info.ink,
    )
    assert config.compact.network.sequence_width == 32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epoch: 3\n", "unknown setting 'epoch' (did you mean 'epochs'?)"),
        ("schedule: {learning_rat: 1}\n", "did you mean 'learning_rate'?"),
        ("epochs: many\n", "epochs: expected int, got 'many'"),
        ("- epochs\n", "holds a list, not `name: value` settings"),
        ("epochs: [\n", "cannot be read as YAML"),
    ],
)
def test_a_faulty_configuration_gives_2_and_names_its_file(
    content: str,
    message: str,
    runs: list[SimpleNamespace],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    path = settings(tmp_path / "mine.yaml", content)
    assert main(["train", "--config", path, "--output", "o"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"quill: error: {path}: ")
    assert message in err


def test_all_faults_of_a_configuration_are_told_at_once(
    runs: list[SimpleNamespace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = settings(tmp_path / "mine.yaml", "epoch: 3\nbatch: 4\n")
    main(["train", "--config", path, "--output", "o"])
    err = capsys.readouterr().err
    assert "'epoch'" in err
    assert "'batch'" in err


def test_a_mistyped_preset_gives_2_and_the_nearest(runs: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]):
    assert main(["train", "--config", "bultin", "--output", "o"]) == 2
    assert "bultin: is neither a file nor a preset (did you mean 'builtin'?)" in capsys.readouterr().err


def test_an_unknown_model_gives_2(runs: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]):
    assert main(["train", "--model", "buildin", "--output", "o"]) == 2
    assert "did you mean 'builtin'?" in capsys.readouterr().err


def test_a_missing_package_gives_2_and_says_what_to_install(
    runs: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def refuse(module: str, extra: str) -> None:
        raise MissingExtraError(f"this needs {module}", hint=f"pip install 'quillread[{extra}]'")

    monkeypatch.setattr(train, "require", refuse)
    assert main(["train", "--output", "o"]) == 2
    assert "pip install 'quillread[train]'" in capsys.readouterr().err


def test_a_mistyped_setting_is_told_before_the_packages_are_looked_for(
    runs: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    looked_for = []
    monkeypatch.setattr(train, "require", lambda module, _: looked_for.append(module))
    assert main(["train", "--set", "epoch=3", "--output", "o"]) == 2
    assert looked_for == []


def test_a_partial_model_is_allowed_by_a_flag(runs: list[SimpleNamespace]):
    main(["train", "--config", "trocr-base", "--data", "folder:x", "--output", "o", "--allow-partial"])
    assert runs[0].config.allow_partial is True


def test_a_run_is_overwritten_on_demand_only(runs: list[SimpleNamespace]):
    for extra in ([], ["--overwrite"]):
        main(["train", "--data", "folder:x", "--output", "o", *extra])
    assert [run.overwrite for run in runs] == [False, True]


def test_one_fold_is_refused(runs: list[SimpleNamespace], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["train", "--data", "folder:x", "--folds", "1", "--output", str(tmp_path)])
    assert "2 or more" in capsys.readouterr().err


def test_each_fold_ends_with_the_folder_of_its_model(
    runs: list[SimpleNamespace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["train", "--data", "folder:x", "--folds", "3", "--resume", "--output", str(tmp_path)]) == 0
    models = [str(tmp_path / f"fold-{number}" / "model") for number in (1, 2, 3)]
    assert capsys.readouterr().out.splitlines() == models
    assert all(run.resume for run in runs)


def test_an_interrupted_fold_ends_the_command(runs: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]):
    assert main(["train", "--data", "folder:x", "--folds", "3", "--output", "interrupted"]) == 130
    assert "go on with: the same command and --resume" in capsys.readouterr().err
    assert len(runs) == 1


def test_the_record_of_a_run_is_what_is_resumed(runs: list[SimpleNamespace], tmp_path: Path):
    settings(tmp_path / "train.json", '{"data": ["folder:x"], "epochs": 7}')
    main(["train", "--resume", "--output", str(tmp_path)])
    assert (written(runs[0].config.data), runs[0].config.epochs) == (["folder:x"], 7)


def test_a_setting_of_the_other_family_gives_2(runs: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]):
    assert main(["train", "--set", "tuning.lora.rank=8", "--output", "o"]) == 2
    assert "setting 'tuning' is for family 'trocr', while this is family 'compact'" in capsys.readouterr().err


def test_a_folder_without_a_run_cannot_be_resumed(
    runs: list[SimpleNamespace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["train", "--resume", "--output", str(tmp_path)]) == 2
    assert f"{tmp_path}: holds no run to resume" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["a b/run", "a b/interrupted"])
def test_commands_that_are_suggested_can_be_pasted(
    place: str, runs: list[SimpleNamespace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    main(["train", "--data", "folder:x", "--output", str(tmp_path / place)])
    named = tmp_path / place if place.endswith("interrupted") else tmp_path / place / "model"
    assert f" '{named}'" in capsys.readouterr().err
