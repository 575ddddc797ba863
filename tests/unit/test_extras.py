import os
import subprocess
import sys
from pathlib import Path

import pytest

from quillread.errors import MissingExtraError
from quillread.extras import require, require_fonts


def test_an_installed_module_is_returned():
    assert require("json.decoder", "train") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", ["quillread_missing", "quillread_missing.part"])
def test_a_missing_module_says_how_to_install_it(module: str):
    with pytest.raises(MissingExtraError, match=module) as caught:
        require(module, "train")
    first = "without an NVIDIA card install the CPU build of torch first"
    assert caught.value.hint == f"pip install 'quillread[train]'; {first}"


def test_a_fault_within_an_installed_module_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "installed_but_broken.py").write_text("import quillread_missing\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="quillread_missing"):
        require("installed_but_broken", "train")


def test_the_fonts_of_matplotlib_are_found_without_importing_it():
    assert (require_fonts() / "DejaVuSans.ttf").is_file()


FIGURE = """
from quillread.extras import require_figures
require_figures().Figure(figsize=(1, 1)).savefig("figure.png")
"""


def test_a_figure_leaves_nothing_with_the_user(tmp_path: Path):
    places = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "XDG_"))}
    subprocess.run([sys.executable, "-c", FIGURE], cwd=tmp_path, env={**kept, **places}, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
