"""The import order: a module imports from its own folder or from those before it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import quillread

PACKAGE = Path(quillread.__file__).parent
BASE = ("errors", "types", "config", "extras", "files", "worker", "processes", "version")
ORDER = (
    "text",
    "images",
    "formats",
    "decode",
    "language",
    "data",
    "models",
    "recognize",
    "pages",
    "options",
    "reader",
    "testing",
    "evaluate",
    "train",
    "batch",
    "serve",
    "cli",
)
MODULES = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py"))
# The face of the package hands out names from everywhere, late.
CHECKED = [path for path in MODULES if path != Path("__init__.py")]


def rank(name: str) -> int:
    """Place of a top-level module or folder in the order; a name outside it is a KeyError."""
    return -1 if name in BASE else {layer: i for i, layer in enumerate(ORDER)}[name]


def imported_modules(source: str) -> Iterator[str]:
    """Dotted names of all modules that a source imports, within functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            module = node.module or ""
            # Of `from quillread import config` the names are modules, of `from quillread.text import x` not.
            yield from ((f"{module}.{alias.name}" for alias in node.names) if module == "quillread" else (module,))


def arrows_to_the_right(path: Path, source: str) -> list[str]:
    own = rank(path.parts[0].removesuffix(".py"))
    ours = (name.split(".") for name in imported_modules(source) if name.split(".")[0] == "quillread")
    names = {parts[1] for parts in ours if len(parts) > 1 and not parts[1].startswith("__")}
    return sorted(name for name in names if rank(name) > own)


@pytest.mark.parametrize("path", CHECKED, ids=str)
def test_a_module_imports_only_from_the_left(path: Path):
    assert arrows_to_the_right(path, (PACKAGE / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", CHECKED, ids=str)
def test_every_module_has_a_place_in_the_order(path: Path):
    rank(path.parts[0].removesuffix(".py"))


@pytest.mark.parametrize(
    "source",
    [
        "import quillread.train.config",
        "from quillread.train import config",
        "from quillread import train",
        "def f():\n    from quillread.train.config import TrainConfig",
    ],
)
def test_an_arrow_to_the_right_is_found(source: str):
    assert arrows_to_the_right(Path("models/compact/network.py"), source) == ["train"]


def test_neighbours_and_layers_to_the_left_are_allowed():
    source = "from quillread import config\nfrom quillread.models.onnx import x\nimport quillread.text.charset"
    assert arrows_to_the_right(Path("models/compact/network.py"), source) == []
