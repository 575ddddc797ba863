"""The shipped settings of trainings, a YAML file each; their names are known without importing what they are for."""

from importlib.resources import files
from pathlib import Path


def presets() -> list[str]:
    """Names of the shipped settings."""
    return sorted(p.name.removesuffix(".yaml") for p in files(__name__).iterdir() if p.name.endswith(".yaml"))


def preset_path(name: str) -> Path:
    """The file of shipped settings."""
    return Path(str(files(__name__) / f"{name}.yaml"))
