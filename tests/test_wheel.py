"""The built wheel holds every file that the package needs."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "quillread"
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel built from a copy of the tree, with one more model among the assets."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    package = tree / "src" / "quillread"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("model.onnx", "quillread.json"):
        (package / "models" / "assets" / "probe").mkdir(parents=True, exist_ok=True)
        (package / "models" / "assets" / "probe" / name).write_bytes(b"probe")
    # The backend itself, without pip: building must need no network.
    result = subprocess.run([sys.executable, "-c", BUILD, str(tree)], cwd=tree, capture_output=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    (wheel,) = tree.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_file_of_the_package_is_in_the_wheel(contents: set[str]):
    files = (p for p in SOURCE.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    assert {str(p.relative_to(SOURCE.parent)) for p in files} - contents == set()


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "train/presets/builtin.yaml",
        "models/assets/probe/model.onnx",
        "models/assets/probe/quillread.json",
    ],
)
def test_a_data_file_is_in_the_wheel(contents: set[str], name: str):
    assert f"quillread/{name}" in contents


def test_nothing_else_is_in_the_wheel(contents: set[str]):
    assert {name.split("/")[0] for name in contents if ".dist-info/" not in name} == {"quillread"}


def test_the_licence_is_in_the_wheel(contents: set[str]):
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in contents)
