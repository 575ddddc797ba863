"""What a training run is told."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from quillread.data.spec import parse_spec
from quillread.errors import ConfigError
from quillread.images.augment import AugmentConfig
from quillread.images.fit import CanvasConfig, InkConfig
from quillread.images.preprocess import PreprocessConfig
from quillread.models.catalog import SHIPPED
from quillread.models.compact.onnx_file import CompactConfig
from quillread.models.trocr.settings import GenerateConfig, TrocrShape
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
    """Largest share of the tokens before it that the decoder does not see in training, drawn for each line from 0 up: a
    network from scratch learns the texts by heart first, and to look at the image last (compare Ghazvininejad et al.
    2019, "Mask-Predict")."""

    columns: float = 0.0
    """Weight of a second loss, for training only: a head that reads the columns of the encoder by CTC. It teaches the
    encoder of a network from scratch its letters from the start."""
    compile: bool = False
    """Let torch translate the layers for the device: after a minute of translating, steps take less time. It needs a C
    compiler."""

    def __post_init__(self) -> None:
        if self.columns < 0:
            raise ConfigError(f"tuning.columns must be at least 0, got {self.columns}")
        if not 0 <= self.mask_tokens <= 1:
            raise ConfigError(f"tuning.mask_tokens must be a share from 0 to 1, got {self.mask_tokens}")
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"tuning.layer_decay must be above 0 and at most 1, got {self.layer_decay}")
        if self.lora and (self.freeze or self.layer_decay < 1):
            raise ConfigError("tuning.lora freezes all weights itself: take out freeze and layer_decay")


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
    family: Literal["compact", "trocr"] = "compact"
    """Kind of network."""
    name: str = "finetuned"
    """How results name the trained model."""
    start: str | None = None
    """Model whose weights the run starts from: a name, a folder, or `org/name@revision`."""
    allow_partial: bool = False
    """trocr: start from a folder that lacks tensors or holds others; those missing are drawn at random. compact: start
    from a network of another shape, from the layers that both have: the first blocks of each stage, and of a wider
    stage the first channels."""
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    """Steps that clean line images, in training and in reading."""
    cache: Path | None = None
    """Folder where the results of slow steps are kept; `cache` in the folder of the run if left out."""
    charset: str = WESTERN_EUROPEAN
    """compact: characters that the model can write."""
    network: CompactConfig = field(default_factory=CompactConfig)
    ink: InkConfig = field(default_factory=InkConfig)
    shortcut: float = 0.1
    """compact: weight of the loss of a second head, on the convolutions, that is there for training only (Retsinas et
    al. 2022). A model does not keep that head: in a run that starts from one it begins at random."""
    teacher: str | None = None
    """compact: model of any size, of the same charset, whose columns the network learns to give, beside the texts."""
    canvas: CanvasConfig | None = None
    """trocr: size of the image that the encoder sees; None for that of the model it starts from."""
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    shape: TrocrShape = field(default_factory=TrocrShape)
    """trocr: layers of the network if it does not start from a model."""
    tokenizer: Path | None = None
    """trocr: folder of the tokenizer if it does not start from a model; single bytes if left out."""
    tuning: TuningConfig = field(default_factory=TuningConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    """trocr: reading aids that are stored with the model."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    batch_size: int = 24
    """Lines in one step of the optimiser, over all processes."""
    micro_batch: int = 0
    """Lines that one process computes at a time; 0 for as many as its memory holds. For TrOCR the result is the same,
    but for what dropout draws. Batches of the compact family are computed whole unless this is set, as its norms look
    at all lines at once."""
    epochs: int = 30
    """Passes; each ends with a validation and a checkpoint."""
    epoch_lines: int | None = None
    """Lines drawn in one epoch; the number of lines of all sources if left out."""
    validation_lines: int = 300
    """Lines of each validation source that are read at the end of each epoch, evenly spread; 0 for all."""
    minutes: float | None = None
    """Length of the run by the clock, validations included, in place of that by `epochs`, which is then the most: the
    learning rate falls with the time. Such a run cannot be repeated to the bit. Reading and saving come after it."""
    patience: int = 0
    """Stop after this many epochs without a better CER; 0 for never."""
    fold: tuple[int, int] | None = None
    """Cross-validation, as (2, 5): leave the second fifth of the groups of real lines out of the training, and validate
    on them in place of `validation`; `quill train --folds 5` trains a model for each fold."""
    keep_checkpoints: int = 2
    """Checkpoints that are kept, the last ones and the best; `quill models average` makes one model of several."""
    metric: Literal["cer", "cer_spacing"] = "cer_spacing"
    """The CER that decides what is best: as the text is, or with spacing around punctuation ignored."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Mixed precision; `auto` takes bf16 where the device computes it fast, fp16 on older GPUs."""
    workers: int | None = None
    """Processes that make batches beside each training process; left out: one on a CPU, on a GPU all cores but its own,
    at most 12, which keep a large one busy."""
    in_memory: bool = False
    """Decode all line images once, before the first step, and keep them, about 60 kB a line: decoding is a third of the
    work of the processes that make batches, which a GPU may have to wait for."""
    seed: int = 1
    """Of the weights, the order of lines and every distortion."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("validation_lines", "patience", "workers", "seed", "micro_batch"):
            if (getattr(self, name) or 0) < 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.epoch_lines is not None and self.epoch_lines < 1:
            raise ConfigError(f"epoch_lines must be at least 1, got {self.epoch_lines}")
        if self.fold is not None and not 1 <= self.fold[0] <= self.fold[1] >= 2:
            raise ConfigError(f"fold is the number of a fold and how many there are, 2 or more, got {self.fold}")
        if self.teacher and self.family != "compact":
            raise ConfigError("teacher is for the compact family: TrOCR learns from texts alone")
        if self.shortcut < 0:
            raise ConfigError(f"shortcut must be at least 0, got {self.shortcut}")
        if self.minutes is not None and self.minutes <= 0:
            raise ConfigError(f"minutes must be above 0, got {self.minutes}")
        if not 0 <= self.validation_share < 1:
            raise ConfigError(f"validation_share must be at least 0 and below 1, got {self.validation_share}")
        if self.network.height != self.ink.height:
            raise ConfigError(f"network.height {self.network.height} and ink.height {self.ink.height} differ")

    def settled(self) -> "TrainConfig":
        """The same with absolute paths, so that the run can be resumed, or done again, from any folder."""

        def path(value: Path | None) -> Path | None:
            return value and value.absolute()

        def model(name: str | None) -> str | None:
            return str(Path(name).absolute()) if name and name not in SHIPPED and Path(name).is_dir() else name

        return replace(
            self,
            data=tuple(_settle(text) for text in self.data),
            validation=tuple(_settle(text) for text in self.validation),
            root=path(self.root),
            cache=path(self.cache),
            tokenizer=path(self.tokenizer),
            start=model(self.start),
            teacher=model(self.teacher),
        )

    def public(self) -> "TrainConfig":
        """The same without the folders of this machine: a model travels with the settings of its training."""

        def path(value: Path | None) -> Path | None:
            return value and Path(value.name)

        def model(name: str | None) -> str | None:
            return Path(name).name if name and name not in SHIPPED and Path(name).is_dir() else name

        return replace(
            self,
            data=tuple(_publish(text) for text in self.data),
            validation=tuple(_publish(text) for text in self.validation),
            root=None,
            cache=None,
            tokenizer=path(self.tokenizer),
            start=model(self.start),
            teacher=model(self.teacher),
        )

    def placed(self, sources: tuple[str, ...]) -> list[str]:
        """The sources with `{root}` filled in.

        Raises:
            ConfigError: If a source needs `root` and it is not set.
        """
        if self.root is None and any("{root}" in source for source in sources):
            raise ConfigError("the sources lie under {root}, which is not set", hint="add --set root=DIR")
        return [source.replace("{root}", str(self.root)) for source in sources]


def _settle(text: str) -> str:
    return text if "{root}" in text else str(parse_spec(text).placed())


def _publish(text: str) -> str:
    return text if "{root}" in text else str(parse_spec(text).public())
