"""What a training run is told."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from quillread.errors import ConfigError
from quillread.images.augment import AugmentConfig
from quillread.images.preprocess import InkConfig
from quillread.models.compact_config import CompactConfig
from quillread.text.charset import WESTERN_EUROPEAN


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """Optimiser and learning rate."""

    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.01
    """Decoupled weight decay; norms and biases have none."""
    warmup: float = 0.02
    """Share of all steps in which the rate rises to its peak."""
    shape: Literal["linear", "cosine", "warmup_stable_decay"] = "cosine"
    """How the rate falls to zero. `warmup_stable_decay` keeps the peak until the last `decay` share of the steps."""
    decay: float = 0.4
    """Share of all steps in which `warmup_stable_decay` falls."""
    clip_norm: float = 2.0
    """Gradients are scaled down to this norm."""

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1 or not 0 < self.decay <= 1:
            raise ConfigError(f"schedule: warmup {self.warmup} and decay {self.decay} must be shares of the run")
        if self.shape == "warmup_stable_decay" and self.warmup + self.decay > 1:
            raise ConfigError(f"schedule: warmup {self.warmup} and decay {self.decay} do not fit into one run")
        if self.learning_rate < 0 or self.clip_norm <= 0 or self.weight_decay < 0:
            raise ConfigError("schedule: learning_rate and weight_decay must be at least 0, clip_norm above 0")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training run."""

    data: tuple[str, ...] = ()
    """Sources of training lines, `kind:where?options@weight`; their train split is used."""
    validation: tuple[str, ...] = ()
    """Sources of validation lines; their validation split is used."""
    validation_share: float = 0.1
    """If no validation is named: share of the real training lines that is held out for it, by writer or document."""
    root: Path | None = None
    """Folder that `{root}` stands for in the sources."""
    family: Literal["compact"] = "compact"
    """Kind of network."""
    name: str = "compact"
    """How results name the trained model."""
    start: Path | None = None
    """Model folder whose weights the run starts from."""
    charset: str = WESTERN_EUROPEAN
    """Characters that the model can write."""
    network: CompactConfig = field(default_factory=CompactConfig)
    ink: InkConfig = field(default_factory=InkConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    batch_size: int = 24
    """Lines in one step of one process."""
    gradient_accumulation: int = 1
    """Batches summed into one step of the optimiser."""
    epochs: int = 30
    """Passes; each ends with a validation and a checkpoint."""
    epoch_lines: int | None = None
    """Lines drawn in one epoch; the number of lines of all sources if left out."""
    validation_lines: int = 300
    """Lines of each validation source that are read at the end of each epoch, evenly spread; 0 for all."""
    patience: int = 0
    """Stop after this many epochs without a better CER; 0 for never."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Mixed precision; `auto` takes bf16 where the device computes it fast, fp16 on older GPUs."""
    workers: int = 1
    """Processes that make batches beside the training."""
    seed: int = 1
    """Of the weights, the order of lines and every distortion."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "gradient_accumulation", "epochs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("validation_lines", "patience", "workers", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.epoch_lines is not None and self.epoch_lines < 1:
            raise ConfigError(f"epoch_lines must be at least 1, got {self.epoch_lines}")
        if not 0 <= self.validation_share < 1:
            raise ConfigError(f"validation_share must be at least 0 and below 1, got {self.validation_share}")
        if self.network.height != self.ink.height:
            raise ConfigError(f"network.height {self.network.height} and ink.height {self.ink.height} differ")

    def placed(self, sources: tuple[str, ...]) -> list[str]:
        """The sources with `{root}` filled in.

        Raises:
            ConfigError: If a source needs `root` and it is not set.
        """
        if self.root is None and any("{root}" in source for source in sources):
            raise ConfigError("the sources lie under {root}, which is not set", hint="add --set root=DIR")
        return [source.replace("{root}", str(self.root)) for source in sources]
