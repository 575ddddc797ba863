import json
from pathlib import Path

import pytest

from quillread.errors import ModelError
from quillread.images.fit import InkConfig
from quillread.models.model_folder import INFO_NAME, ModelInfo, read_info, share_weights, write_info
from quillread.types import Calibration

INFO = ModelInfo(
    family="compact",
    name="hand",
    charset="abé’ ",
    ink=InkConfig(height=64, ink_percentile=2.0),
    column_width=8,
    line_calibration=Calibration(0.8, -0.1),
    provenance={"steps": 3, "sources": ["a", "b"], "validation": {"cer": 0.1}},
)


def test_what_was_written_is_read_back(tmp_path: Path):
    write_info(INFO, tmp_path / "new")
    assert read_info(tmp_path / "new") == INFO


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"error_curve": {"doubts": [0, 0.5, 1], "rates": [0, 1]}}, "as many rates as doubts"),
        ({"error_curve": {"doubts": [0, 0.5, 0.2], "rates": [0, 0.1, 1]}}, "doubts of a curve rise"),
        ({"error_curve": {"doubts": [], "rates": []}}, "as many rates as doubts"),
        ({"column_width": 0}, "column_width"),
        ({"column_width": -4}, "column_width"),
        ({"ink": {"height": 10**9, "max_width": 10**9}}, "ink"),
        ({"canvas": {"height": 20_000, "width": 20_000}}, "canvas: 20000 x 20000 pixels are too many"),
        ({"generate": {"beams": 10**6}}, "generate.beams"),
        ({"language": {"beam": {"width": 10**6}}}, "beam"),
        ({"line_calibration": {"scale": float("nan")}}, "line_calibration.scale"),
        ({"line_calibration": {"scale": 10**400}}, "line_calibration.scale"),
        ({"family": ["compact"]}, "family"),
    ],
)
def test_values_that_no_model_has_are_refused_by_name(tmp_path: Path, change: dict[str, object], named: str):
    write_info(INFO, tmp_path)
    values = json.loads((tmp_path / INFO_NAME).read_text(encoding="utf-8")) | change
    (tmp_path / INFO_NAME).write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ModelError, match=named):
        read_info(tmp_path)


@pytest.mark.parametrize("content", ["[" * 100_000, "1" * 5000, '{"format": ' + "9" * 5000 + "}", "\ud800"])
def test_json_that_cannot_be_read_is_refused(tmp_path: Path, content: str):
    (tmp_path / INFO_NAME).write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(ModelError, match=INFO_NAME):
        read_info(tmp_path)


def test_characters_are_written_plainly(tmp_path: Path):
    write_info(INFO, tmp_path)
    assert "abé’ " in (tmp_path / INFO_NAME).read_text(encoding="utf-8")


def test_a_folder_without_the_file_is_no_model(tmp_path: Path):
    with pytest.raises(ModelError, match=r"is not a model folder: it has no quillread\.json"):
        read_info(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"[1]", b'{"family": "compact"}'])
def test_a_damaged_file_is_an_error(tmp_path: Path, content: bytes):
    (tmp_path / INFO_NAME).write_bytes(content)
    with pytest.raises(ModelError, match=r"quillread\.json") as caught:
        read_info(tmp_path)
    assert caught.value.hint


def test_a_later_format_asks_for_a_newer_version(tmp_path: Path):
    (tmp_path / INFO_NAME).write_text(json.dumps({"format": 2, "something": "new"}), encoding="utf-8")
    with pytest.raises(ModelError, match="has format 2") as caught:
        read_info(tmp_path)
    assert "newer version of quillread" in str(caught.value)


def test_weights_have_the_permissions_of_other_files(tmp_path: Path):
    write_info(INFO, tmp_path)
    for part in ("model-1", "model-2"):
        path = tmp_path / f"{part}.safetensors"
        path.touch()
        path.chmod(0o600)
    names = {path.name for path in tmp_path.iterdir()}
    share_weights(tmp_path)
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1
    assert {path.name for path in tmp_path.iterdir()} == names
