"""What `import quillread` gives."""

import subprocess
import sys

import pytest

import quillread

EXTRAS = (
    "torch",
    "transformers",
    "accelerate",
    "peft",
    "tensorboard",
    "matplotlib",
    "pyarrow",
    "datasets",
    "fontTools",
)
WITHOUT_EXTRAS = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
"""


def run_without_extras(code: str) -> str:
    """Run code in an interpreter that has the base installation only."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS + code], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", [name for name in quillread.__all__ if name != "__version__"])
def test_every_public_name_can_be_called_however_often_it_is_asked_for(name: str):
    assert callable(getattr(quillread, name))
    assert callable(getattr(quillread, name))


def test_every_public_name_is_listed():
    assert set(quillread.__all__) <= set(dir(quillread))
    assert quillread.__all__ == sorted(quillread.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'raed'"):
        _ = quillread.raed


def test_all_names_can_be_imported_without_the_extras():
    names = run_without_extras("from quillread import *\nprint(*sorted(n for n in dir() if n[0] != '_'))").split()
    assert set(names) - {"Refuse", "sys"} == {name for name in quillread.__all__ if name != "__version__"}


def test_help_works_without_the_extras():
    text = run_without_extras("import quillread\nhelp(quillread)")
    assert "reading = quillread.read" in text
    assert "class ReadOptions" in text


def test_what_needs_an_extra_says_so_when_it_is_called():
    said = run_without_extras(
        "import quillread\n"
        "print(hasattr(quillread, 'finetune'), quillread.TrainConfig.__name__)\n"
        "try:\n"
        "    quillread.finetune(None, None)\n"
        "except quillread.QuillreadError as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    assert said.splitlines() == [
        "True TrainConfig",
        "MissingExtraError quillread.finetune needs the Python package 'torch', which is not installed",
        "  hint: pip install 'quillread[train]'; without an NVIDIA card install the CPU build of torch first",
    ]


def test_a_model_is_read_with_the_base_installation():
    code = "import numpy as np, quillread\nprint(quillread.read_page(np.full((200, 200), 255, np.uint8)).lines)"
    assert run_without_extras(code) == "()\n"
