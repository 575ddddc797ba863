"""TrOCR models and their exports, made when a test asks for them, once for all tests of this folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from exports import lively_of, write_export
from fakes import write_trocr


class Made(dict[str, Path]):
    """Folders by the name of the variant, made when they are first asked for."""

    def __init__(self, make: Callable[[str], Path]) -> None:
        self._make = make

    def __missing__(self, variant: str) -> Path:
        self[variant] = self._make(variant)
        return self[variant]


@pytest.fixture(scope="package")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("trocr")
    return Made(lambda variant: write_trocr(root / variant, variant))


@pytest.fixture(scope="package")
def exports(folders: Made, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Lively models and their exports."""
    root = tmp_path_factory.mktemp("exports")
    return Made(lambda variant: write_export(lively_of(folders[variant]), root / variant))
