"""The model folder: weights, preprocessing, charset, calibration and provenance in one place."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from quillread import config
from quillread.errors import ConfigError, ModelError
from quillread.files import write_json
from quillread.images.fit import CanvasConfig, InkConfig
from quillread.images.preprocess import PreprocessConfig
from quillread.language.choice import LanguageSettings
from quillread.models.trocr.settings import GenerateConfig
from quillread.types import Calibration, ErrorCurve

Record = TypeVar("Record")

INFO_NAME = "quillread.json"
ONNX_NAME = "model.onnx"
CARD_NAME = "README.md"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What `quillread.json` says."""

    family: Literal["compact", "trocr"]
    """Kind of network."""
    name: str
    """How results name the model."""
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    """Steps that clean a line image before anything else."""
    charset: str = ""
    """compact: characters in the order of their classes; class 0 is the blank."""
    ink: InkConfig = field(default_factory=InkConfig)
    """compact: how a line image becomes its pixels."""
    column_width: int = 4
    """compact: pixels of the scaled line image that one output column stands for."""
    canvas: CanvasConfig | None = None
    """trocr: size of the image that the encoder sees; None for that of its own image processor."""
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    """trocr: how text is generated."""
    line_calibration: Calibration = field(default_factory=Calibration)
    """Of line confidences; fitted on validation lines."""
    word_calibration: Calibration = field(default_factory=Calibration)
    """Of word confidences, likewise."""
    error_curve: ErrorCurve = field(default_factory=ErrorCurve)
    """Errors to be expected by the doubt about a line; fitted by `quill lm tune`."""
    language: LanguageSettings = field(default_factory=LanguageSettings)
    """How the model reads with a language, if it is told to."""
    format: int = 1
    """Version of this file's form."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Data, recipe, versions and results of the training."""

    def __post_init__(self) -> None:
        if not 1 <= self.column_width <= 64:
            raise ConfigError(f"column_width must be from 1 to 64, got {self.column_width}")


def read_info(folder: Path) -> ModelInfo:
    """Read `quillread.json`.

    Raises:
        ModelError: If the folder holds no model of ours, or one of a later version.
    """
    path = folder / INFO_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        hint = "see: quill models list"
        raise ModelError(f"{folder}: is not a model folder: it has no {INFO_NAME}", hint=hint) from error
    except (OSError, ValueError, RecursionError) as error:
        hint = "copy the model again, with all of its files"
        raise ModelError(f"{path}: cannot be read: {error}", hint=hint) from error
    if isinstance(values, dict) and values.get("format", 1) != 1:
        raise ModelError(f"{path}: has format {values['format']}", hint="it needs a newer version of quillread")
    return build_record(ModelInfo, values, path)


def build_record(kind: type[Record], values: Any, path: Path) -> Record:
    """Make a dataclass of what a file of a model folder says.

    Raises:
        ModelError: If it says something else.
    """
    try:
        return config.build(kind, values, str(path))
    except ConfigError as error:
        raise ModelError(error.message, hint=error.hint) from error


def write_info(info: ModelInfo, folder: Path) -> None:
    """Write `quillread.json` atomically.

    Raises:
        OutputError: If it cannot be written.
    """
    write_json(folder / INFO_NAME, config.dump(info))


def share_weights(folder: Path) -> None:
    """Give the weights in a folder the permissions of its other files: safetensors lets only their owner read them."""
    probe = folder / f".{os.getpid()}.mode"
    probe.touch()  # the umask, which can only be asked for by changing it for all threads
    mode = probe.stat().st_mode
    probe.unlink()
    for path in folder.glob("*.safetensors"):
        path.chmod(mode)
