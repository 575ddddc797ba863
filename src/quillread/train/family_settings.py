"""The settings of a training that belong to one family of networks."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from quillread.errors import ConfigError
from quillread.images.fit import CanvasConfig, InkConfig
from quillread.models.compact.onnx_file import CompactConfig
from quillread.models.trocr.settings import GenerateConfig, TrocrShape
from quillread.text.charset import WESTERN_EUROPEAN


@dataclass(frozen=True, slots=True)
class CompactPart:
    """Settings of a compact network alone."""

    family: Literal["compact"] = "compact"
    charset: str = WESTERN_EUROPEAN
    """Characters that the model can write."""
    grow_charset: bool = True
    """Teach the characters of the training texts that the charset lacks: each gets a class of its own. Otherwise lines
    with such characters are skipped."""
    network: CompactConfig = field(default_factory=CompactConfig)
    ink: InkConfig = field(default_factory=InkConfig)
    shortcut: float = 0.1
    """Weight of the loss of a second head, on the convolutions, that is there for training only (Retsinas et al. 2022).
    A model does not keep that head: in a run that starts from one it begins at random."""
    teacher: str | None = None
    """Model of any size, of the same charset, whose columns the network learns to give, beside the texts."""

    def __post_init__(self) -> None:
        if self.shortcut < 0:
            raise ConfigError(f"shortcut must be at least 0, got {self.shortcut}")
        if self.network.height != self.ink.height:
            raise ConfigError(f"network.height {self.network.height} and ink.height {self.ink.height} differ")


SCRATCH_CANVAS = CanvasConfig(height=64, width=768, fit="pad")
"""Of a TrOCR that starts from random weights, unless the settings name another."""


@dataclass(frozen=True, slots=True)
class LabelsConfig:
    """How texts become the labels of TrOCR."""

    max_length: int | None = None
    """Most tokens of a label, the end included, and the length that all are padded to; None to pad each batch to its
    longest, with the decoder's positions as the limit."""
    overlong: Literal["leave_out", "truncate"] = "leave_out"
    """What becomes of lines with more tokens; either way they are counted and reported."""

    def __post_init__(self) -> None:
        if self.max_length is not None and self.max_length < 2:
            raise ConfigError(f"labels.max_length must be at least 2, got {self.max_length}")


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """Low-rank adapters in place of training all weights (Hu et al. 2021, "LoRA")."""

    rank: int = 16
    """Rank of the adapters."""
    alpha: float = 32.0
    """Scale of the adapters, divided by the rank."""
    dropout: float = 0.05
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    """Names of the layers that get an adapter; these are attention's queries and values, in encoder and decoder."""

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.targets or not 0 <= self.dropout < 1:
            raise ConfigError("tuning.lora: rank must be at least 1, dropout a share, targets at least one name")


@dataclass(frozen=True, slots=True)
class TuningConfig:
    """What of a TrOCR model is trained, and how memory is spared."""

    gradient_checkpointing: bool = False
    """Compute the activations again in the backward pass: about a third more time, a fraction of the memory."""
    freeze: tuple[str, ...] = ()
    """Parameters whose names start with one of these stay as they are, such as `encoder.embeddings`."""
    layer_decay: float = 1.0
    """Learning rate of each layer, as a share of that of the layer above it: decoder over encoder, top to bottom."""
    lora: LoraConfig | None = None
    mask_tokens: float = 0.0
    """Largest share of the tokens before it that the decoder does not see in training; the share of a line is random,
    from 0 up. A network from scratch learns the texts by heart first, and to look at the image last (compare
    Ghazvininejad et al. 2019, "Mask-Predict")."""

    columns: float = 0.0
    """Weight of a second loss, for training only: a head that reads the columns of the encoder by CTC. It teaches the
    encoder of a network from scratch its letters from the start."""
    distil: float = 0.0
    """Weight of a further loss: how far the probabilities of each token are from those that the model gives which the
    run starts from, on its own canvas (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"). For a model
    that is to read on a smaller canvas as it read before: it learns from itself, which texts alone teach less of."""
    compile: bool = False
    """Let torch translate the layers for the device: after a minute of translating, steps take less time. It needs a C
    compiler."""

    def __post_init__(self) -> None:
        for name in ("columns", "distil"):
            if getattr(self, name) < 0:
                raise ConfigError(f"tuning.{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.mask_tokens <= 1:
            raise ConfigError(f"tuning.mask_tokens must be a share from 0 to 1, got {self.mask_tokens}")
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"tuning.layer_decay must be above 0 and at most 1, got {self.layer_decay}")
        if self.lora and (self.freeze or self.layer_decay < 1):
            raise ConfigError("tuning.lora freezes all weights itself: take out freeze and layer_decay")


@dataclass(frozen=True, slots=True)
class TrocrPart:
    """Settings of TrOCR alone."""

    family: Literal["trocr"] = "trocr"
    canvas: CanvasConfig | None = None
    """Size of the image that the encoder sees; None for that of the model it starts from."""
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    shape: TrocrShape = field(default_factory=TrocrShape)
    """Layers of the network if it does not start from a model."""
    tokenizer: Path | None = None
    """Folder of the tokenizer if it does not start from a model; single bytes if not set."""
    tuning: TuningConfig = field(default_factory=TuningConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    """Reading aids that are stored with the model."""
