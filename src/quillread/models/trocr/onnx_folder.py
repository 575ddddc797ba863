"""The folder of an exported TrOCR model: what is in it beside `quillread.json`, and how its text is generated."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from quillread import config
from quillread.errors import ConfigError, ModelError
from quillread.files import write_json
from quillread.models.model_folder import build_record
from quillread.models.onnx import beside
from quillread.models.trocr.files import read_json
from quillread.models.trocr.settings import MOST_BEAMS, MOST_COUNT, MOST_PENALTY

ENCODER_NAME = "encoder.onnx"
DECODER_NAME = "decoder.onnx"
FACTS_NAME = "trocr.json"
TOKENIZER_NAME = "tokenizer.json"
GRAPH_NAMES = (ENCODER_NAME, DECODER_NAME)
NETWORK_NAMES = (*GRAPH_NAMES, *(beside(Path(name)).name for name in GRAPH_NAMES))
"""Graphs, and the file of the weights of each."""
WeightType = Literal["float32", "int8"]
_RANGES: dict[str, tuple[int, int]] = {
    "height": (1, 4096),
    "width": (1, 4096),
    "resample": (0, 5),  # as Pillow numbers its filters
    "layers": (1, 1000),
    "heads": (1, 1000),
    "head_width": (1, 16_384),
    "positions": (2, 100_000),
    "vocabulary": (1, 10**7),
    "beams": (1, MOST_BEAMS),
    "max_tokens": (1, 100_000),
    "length_penalty": (-MOST_PENALTY, MOST_PENALTY),
    "no_repeat_ngram": (0, MOST_COUNT),
}
FORMAT = 2
"""Of the folder. The first, which had the weights in the files of the graphs, is read, too; others are refused."""

_DRAFTED = 30e6
"""Weights of the decoder's layers from which on drafts pay. A pass of trocr-base (201 million) takes 11 ms of a core,
one of trocr-small (6 million) 1.3 ms (`benchmarks/trocr_export.py`); a draft takes some 20 ms, and spares seven to nine
passes of a line of IAM (`trocr_drafts.py`)."""


@dataclass(frozen=True, slots=True)
class TrocrFacts:
    """What `trocr.json` says: what the graphs take, and the generation settings that were the model's own."""

    weights: WeightType
    """Number type of the matrices."""
    height: int
    """Of the image that the encoder takes, in pixels."""
    width: int
    resample: int
    """How an image is brought to this size, as Pillow numbers it."""
    layers: int
    """Of the decoder."""
    heads: int
    head_width: int
    positions: int
    """Tokens that the decoder has positions for, the one that starts a text included."""
    vocabulary: int
    start: int
    """Token that starts a text."""
    ends: tuple[int, ...]
    """Tokens that end it."""
    beams: int = 1
    max_tokens: int = 20
    """Most tokens of a text, without the one that starts it."""
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    no_repeat_ngram: int = 0
    """Sequences of so many tokens, at least 2, are written once only; 0 for no such rule."""
    cleans_spaces: bool = False
    """Whether spaces before punctuation are dropped, as transformers does for a tokenizer with
    `clean_up_tokenization_spaces`."""
    opset: int = 17
    onnxruntime: str = ""
    """Version that the files were checked with."""
    format: int = FORMAT

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise ConfigError(f"{name} must be from {least} to {most}, got {getattr(self, name)}")
        if self.no_repeat_ngram == 1:
            raise ConfigError("no_repeat_ngram must be 0 or at least 2, got 1")
        if not self.ends:
            raise ConfigError("ends must name at least one token, got none")
        for name, token in (("start", self.start), *(("ends", end) for end in self.ends)):
            if not 0 <= token < self.vocabulary:
                raise ConfigError(f"{name}: tokens are from 0 to {self.vocabulary - 1}, got {token}")

    @property
    def gains_by_drafts(self) -> bool:
        """Whether the passes of the decoder that a draft spares cost more than the draft."""
        return 16 * self.layers * (self.heads * self.head_width) ** 2 >= _DRAFTED


def is_exported(folder: Path) -> bool:
    """Whether a folder holds a model that was exported."""
    return (folder / FACTS_NAME).is_file()


def read_facts(folder: Path) -> TrocrFacts:
    """Read `trocr.json`.

    Raises:
        ModelError: If it is damaged or of another version, or a file beside it is missing.
    """
    path = folder / FACTS_NAME
    values = read_json(path)
    found = values.get("format", FORMAT)
    if found not in (1, FORMAT):
        hint = "export the model again with this version of quillread"
        raise ModelError(f"{path}: has format {found}, and this version reads 1 and {FORMAT}", hint=hint)
    networks = NETWORK_NAMES if found == FORMAT else GRAPH_NAMES
    for name in (*networks, TOKENIZER_NAME):
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: lacks {name}", hint="it was not exported or copied whole: export it again")
    return build_record(TrocrFacts, values, path)


def write_facts(facts: TrocrFacts, folder: Path) -> None:
    """Write `trocr.json`.

    Raises:
        OutputError: If it cannot be written.
    """
    write_json(folder / FACTS_NAME, config.dump(facts))
