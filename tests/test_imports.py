"""What reading a page may cost to import."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "matplotlib", "pyarrow", "datasets", "accelerate", "onnx", "fontTools")


def heavy_modules_after(statement: str) -> list[str]:
    """Import in a fresh interpreter and tell which of the heavy packages came along."""
    code = f"{statement}\nimport sys\nprint(*(m for m in {HEAVY!r} if m in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    return result.stdout.split()


@pytest.mark.parametrize(
    "module",
    [
        "quillread",
        "quillread.recognize.recognizer",
        "quillread.models.onnx",
        "quillread.models.model_folder",
        "quillread.train.config",
        "quillread.train.looks",
        "quillread.reader",
        "quillread.cli.main",
    ],
)
def test_the_reading_path_imports_no_training_package(module: str):
    assert heavy_modules_after(f"import {module}") == []


def test_a_heavy_import_would_be_noticed():
    assert heavy_modules_after("import fontTools") == ["fontTools"]
