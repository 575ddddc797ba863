import sys
from pathlib import Path

import pytest

from quillread.errors import MissingExtraError
from quillread.extras import require


def test_an_installed_module_is_returned():
    assert require("json.decoder", "train") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", ["quillread_missing", "quillread_missing.part"])
def test_a_missing_module_says_how_to_install_it(module: str):
    with pytest.raises(MissingExtraError, match=module) as caught:
        require(module, "train")
    assert caught.value.hint == "pip install 'quillread[train]'"


def test_a_fault_within_an_installed_module_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "installed_but_broken.py").write_text("import quillread_missing\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="quillread_missing"):
        require("installed_but_broken", "train")
