import shutil
from pathlib import Path

import pytest
from fakes import write_trocr

from quillread.errors import ModelError
from quillread.models.trocr.files import ADAPTERS_NAME
from quillread.models.trocr.loading import load_trocr
from quillread.models.trocr.onnx_folder import FACTS_NAME
from quillread.train.family_settings import LoraConfig
from quillread.train.trocr.delivery import write_adapter
from quillread.train.trocr.tuning import add_adapters, save_adapters


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_trocr(tmp_path / "base")


@pytest.fixture
def adapters(tmp_path: Path, base: Path) -> Path:
    """As PEFT writes them."""
    save_adapters(add_adapters(load_trocr(base).network, LoraConfig(rank=2)), tmp_path / "adapters")
    return tmp_path / "adapters"


def test_others_may_read_adapters_that_only_their_owner_could(tmp_path: Path, base: Path, adapters: Path):
    (adapters / ADAPTERS_NAME).chmod(0o600)  # as safetensors writes them
    write_adapter(adapters, tmp_path / "out", str(base))
    assert len({path.stat().st_mode for path in (tmp_path / "out").iterdir()}) == 1


def test_a_compact_model_is_told_to_have_no_adapters(tmp_path: Path, adapters: Path):
    with pytest.raises(ModelError, match="builtin: is a compact model"):
        write_adapter(adapters, tmp_path / "out", "builtin")


def test_an_export_is_told_to_have_no_adapters(tmp_path: Path, base: Path, adapters: Path):
    exported = shutil.copytree(base, tmp_path / "exported")
    (exported / FACTS_NAME).write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="is an export"):
        write_adapter(adapters, tmp_path / "out", str(exported))
