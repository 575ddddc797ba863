import json
from pathlib import Path

import pytest
from fakes import bar_info

from quillread.cli.main import main
from quillread.models.catalog import SHIPPED
from quillread.models.checkpoint import ONNX_NAME, write_info


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder, as far as anybody can tell without loading it."""
    write_info(bar_info(), tmp_path / "mine")
    (tmp_path / "mine" / ONNX_NAME).write_bytes(b"weights")
    return tmp_path / "mine"


def test_the_list_names_the_shipped_models_with_their_size(capsys: pytest.CaptureFixture[str]):
    assert main(["models", "list"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _, _ in rows] == list(SHIPPED)
    assert all(size.endswith(" MB") and float(size.split()[0]) > 0 for _, size, _ in rows)


def test_a_model_without_a_card_shows_its_record(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["models", "show", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "bars"


def test_a_model_with_a_card_shows_it(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "README.md").write_text("# Bars – a model\n", encoding="utf-8")
    main(["models", "show", str(folder)])
    assert capsys.readouterr().out == "# Bars – a model\n"


def test_a_card_in_another_encoding_is_shown_as_far_as_it_goes(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "README.md").write_bytes(b"caf\xe9\n")
    assert main(["models", "show", str(folder)]) == 0
    assert capsys.readouterr().out == "caf\N{REPLACEMENT CHARACTER}\n"


def test_json_shows_the_record_beside_a_card(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "README.md").write_text("# Bars\n", encoding="utf-8")
    main(["models", "show", "--json", str(folder)])
    assert json.loads(capsys.readouterr().out)["charset"] == bar_info().charset


def test_the_shipped_model_can_be_shown_as_json(capsys: pytest.CaptureFixture[str]):
    assert main(["models", "show", "builtin", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["family"] == "compact"


def test_an_unknown_model_gives_2_and_the_nearest_name(capsys: pytest.CaptureFixture[str]):
    assert main(["models", "show", "buildin"]) == 2
    err = capsys.readouterr().err
    assert err == "quill: error: unknown model 'buildin' (did you mean 'builtin'?)\n  hint: see: quill models list\n"


def test_no_action_gives_2():
    with pytest.raises(SystemExit) as caught:
        main(["models"])
    assert caught.value.code == 2
