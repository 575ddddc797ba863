import json
from pathlib import Path

import pytest

from quillread.errors import ModelError
from quillread.images.fit import InkConfig
from quillread.models.model_folder import INFO_NAME, ModelInfo, read_info, write_info
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


def test_characters_are_written_plainly(tmp_path: Path):
    write_info(INFO, tmp_path)
    assert "abé’ " in (tmp_path / INFO_NAME).read_text(encoding="utf-8")


def test_a_folder_without_the_file_is_no_model(tmp_path: Path):
    with pytest.raises(ModelError, match=r"is not a model folder: it has no quillread\.json"):
        read_info(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"[1]", b'{"family": "compact"}'])
def test_a_damaged_file_is_an_error(tmp_path: Path, content: bytes):
    (tmp_path / INFO_NAME).write_bytes(content)
    with pytest.raises(ModelError, match=r"quillread\.json"):
        read_info(tmp_path)


def test_a_later_format_asks_for_a_newer_version(tmp_path: Path):
    (tmp_path / INFO_NAME).write_text(json.dumps({"format": 2, "something": "new"}), encoding="utf-8")
    with pytest.raises(ModelError, match="has format 2") as caught:
        read_info(tmp_path)
    assert "newer version of quillread" in str(caught.value)
