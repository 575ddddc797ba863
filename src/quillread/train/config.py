"""What a training run is told, and how its settings come together from presets, files, models and changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from quillread.config import TAG, apply_overrides, build, dump, merge, read_yaml, suggest
from quillread.data.spec import DataSpec
from quillread.errors import ConfigError
from quillread.images.augment import AugmentConfig
from quillread.images.preprocess import PreprocessConfig
from quillread.models.catalog import SHIPPED, describe, pin
from quillread.models.model_folder import INFO_NAME
from quillread.train.family_settings import CompactPart, TrocrPart
from quillread.train.presets import preset_path, presets


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

    data: tuple[DataSpec, ...] = ()
    """Sources of training lines, written as `kind:where?options@weight`; their train split is used."""
    validation: tuple[DataSpec, ...] = ()
    """Sources of validation lines; their validation split is used."""
    validation_share: float = 0.1
    """If no validation is named: share of the real training lines that is held out for it, by writer or document."""
    root: Path | None = None
    """Folder that `{root}` stands for in the sources."""
    part: CompactPart | TrocrPart = field(default_factory=CompactPart, metadata={TAG: "family"})
    """Settings of one family of networks alone. They are written among all others, after `family: compact` or
    `family: trocr`."""
    name: str = "finetuned"
    """How results name the trained model."""
    start: str | None = None
    """Model whose weights the run starts from: a name, a folder, or `org/name@revision`."""
    allow_partial: bool = False
    """trocr: start from a folder that lacks tensors or holds others; those missing start at random. compact: start
    from a network of another shape, from the layers that both have: the first blocks of each stage, and of a wider
    stage the first channels."""
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    """Steps that clean line images, in training and in reading."""
    cache: Path | None = None
    """Folder where the results of slow steps are kept; `cache` in the folder of the run if not set."""
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
    """Lines of one epoch, chosen at random; the number of lines of all sources if not set."""
    group_balance: float = 0.0
    """Within a source: 0 to see every line equally often, 1 every writer or document; between them, those of n lines
    in the ratio of n to the power of 1 - group_balance."""
    validation_lines: int = 300
    """Lines of each validation source that are read at each validation, evenly spread; 0 for all."""
    minutes: float | None = None
    """Length of the run by the clock, validations included, in place of that by `epochs`, which is then the most: the
    learning rate falls with the time. Such a run cannot be repeated to the bit. Reading and saving come after it."""
    validate_steps: int | None = None
    """Steps of the optimiser after which lines are validated and a checkpoint is written, and once more after the last;
    the end of each epoch if not set. An epoch of thousands of lines takes TrOCR hours on a CPU."""
    patience: int = 0
    """Stop after this many validations without a better CER; 0 for never."""
    fold: tuple[int, int] | None = None
    """Cross-validation, as (2, 5): leave the second fifth of the groups of real lines out of the training, and validate
    on them in place of `validation`; `quill train --folds 5` trains a model for each fold."""
    keep_checkpoints: int = 2
    """Checkpoints that are kept, the last ones and the best; `quill models average` makes one model of several."""
    average_decay: float = 0.0
    """Validate and deliver, in place of the weights of a step, their moving average: after each step it keeps this
    share of itself, such as 0.99, and takes the rest from the weights; 0 for the weights themselves."""
    metric: Literal["cer", "cer_spacing"] = "cer_spacing"
    """The CER that decides what is best: as the text is, or with spacing around punctuation ignored."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Mixed precision; `auto` takes bf16 where the device computes it fast, fp16 on older GPUs."""
    workers: int | None = None
    """Processes that make batches beside each training process; if not set, one on a CPU, on a GPU all cores but its
    own, at most 12, which keep a large one busy."""
    in_memory: bool = False
    """Decode all line images once, before the first step, and keep them, about 60 kB a line: decoding is a third of the
    work of the processes that make batches, which a GPU may have to wait for."""
    seed: int = 1
    """Of the weights, the order of lines and every distortion."""

    def __post_init__(self) -> None:
        for spec in (*self.data, *self.validation):
            if not isinstance(spec, DataSpec):
                raise ConfigError(f"{spec!r}: is not a parsed source", hint=f"write DataSpec.parse({spec!r})")
        for name in ("batch_size", "epochs", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("validation_lines", "patience", "workers", "seed", "micro_batch"):
            if (getattr(self, name) or 0) < 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("epoch_lines", "validate_steps"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.fold is not None and not 1 <= self.fold[0] <= self.fold[1] >= 2:
            raise ConfigError(f"fold is the number of a fold and how many there are, 2 or more, got {self.fold}")
        if self.minutes is not None and self.minutes <= 0:
            raise ConfigError(f"minutes must be above 0, got {self.minutes}")
        if not 0 <= self.average_decay < 1:
            raise ConfigError(f"average_decay must be at least 0 and below 1, got {self.average_decay}")
        if not 0 <= self.group_balance <= 1:
            raise ConfigError(f"group_balance must be from 0 to 1, got {self.group_balance}")
        if not 0 <= self.validation_share < 1:
            raise ConfigError(f"validation_share must be at least 0 and below 1, got {self.validation_share}")

    @classmethod
    def starting_from(cls, model: str, **changes: Any) -> "TrainConfig":
        """Settings of a run that trains a model on, as `quill train --model MODEL` takes them.

        Character set, preprocessing, canvas and shape are those of the model. The rest is the preset for a few lines of
        one's own: `personal` for a compact model, `trocr-base` for TrOCR.

        >>> config = TrainConfig.starting_from("builtin", data=["folder:lines"], epochs=3, schedule={"warmup": 0.1})

        Args:
            model: A name, a folder or `org/name@revision`.
            changes: Any settings, as plain data or as what they become. Groups are merged with those of the preset.

        Raises:
            ConfigError: If a setting is unknown or out of range.
            ModelError: If there is no such model, or it is damaged.
        """
        return assemble(None, model, changes=changes)

    @property
    def family(self) -> Literal["compact", "trocr"]:
        """Kind of network."""
        return self.part.family

    @property
    def compact(self) -> CompactPart:
        """The settings of a compact network.

        Raises:
            ConfigError: If the run is one of TrOCR.
        """
        if not isinstance(self.part, CompactPart):
            raise ConfigError("the settings are for the trocr family, not for a compact network")
        return self.part

    @property
    def trocr(self) -> TrocrPart:
        """The settings of TrOCR.

        Raises:
            ConfigError: If the run is one of a compact network.
        """
        if not isinstance(self.part, TrocrPart):
            raise ConfigError("the settings are for the compact family, not for TrOCR")
        return self.part

    @property
    def teacher(self) -> str | None:
        """The model that the network learns from beside the texts; None for none."""
        return self.part.teacher if isinstance(self.part, CompactPart) else None

    def settled(self) -> "TrainConfig":
        """The same with absolute paths, so that the run can be resumed, or done again, from any folder."""
        whole = replace(self, root=self.root and self.root.absolute(), cache=self.cache and self.cache.absolute())
        return whole._with_places(DataSpec.placed, Path.absolute, lambda name: str(Path(name).absolute()))

    def public(self) -> "TrainConfig":
        """The same without the folders of this machine: a model travels with the settings of its training."""
        bare = replace(self, root=None, cache=None)
        return bare._with_places(DataSpec.public, lambda path: Path(path.name), lambda name: Path(name).name)

    def pinned(self) -> "TrainConfig":
        """The same with models of the hub named by the revision that is found now."""
        part = self.part
        if isinstance(part, CompactPart):
            part = replace(part, teacher=part.teacher and pin(part.teacher))
        return replace(self, start=self.start and pin(self.start), part=part)

    def _with_places(
        self, of_data: Callable[[DataSpec], DataSpec], of_path: Callable[[Path], Path], of_folder: Callable[[str], str]
    ) -> "TrainConfig":
        """The same with other places of data, of the tokenizer, and of models that are folders."""

        def place(spec: DataSpec) -> DataSpec:
            return spec if spec.needs_root else of_data(spec)

        def model(name: str | None) -> str | None:
            return of_folder(name) if name and name not in SHIPPED and Path(name).is_dir() else name

        part = self.part
        if isinstance(part, CompactPart):
            part = replace(part, teacher=model(part.teacher))
        else:
            part = replace(part, tokenizer=part.tokenizer and of_path(part.tokenizer))
        data, validation = tuple(map(place, self.data)), tuple(map(place, self.validation))
        return replace(self, data=data, validation=validation, start=model(self.start), part=part)

    def placed(self, specs: Sequence[DataSpec]) -> list[DataSpec]:
        """The sources with `{root}` filled in.

        Raises:
            ConfigError: If a source needs `root` and it is not set.
        """
        if self.root is None and any(spec.needs_root for spec in specs):
            raise ConfigError("the sources lie under {root}, which is not set", hint="set root to a folder")
        return [spec.under(self.root) if self.root else spec for spec in specs]


def assemble(
    document: Mapping[str, Any] | None = None,
    model: str | None = None,
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    where: str = "settings",
) -> TrainConfig:
    """Put the settings of a run together.

    What belongs to the weights that it starts from is as they have it, unless the settings say otherwise: without it no
    weight would fit.

    Args:
        document: Nested plain data, of a file or a preset; None for the preset that goes with the model, if any.
        model: Model to start from, in place of that of the document.
        overrides: `a.b=c` settings on top of the document.
        changes: Settings on top of all, as plain data or as what they become.
        where: Name of the document, for error messages.

    Raises:
        ConfigError: Listing every fault of the settings.
        ModelError: If there is no such model, or it is damaged.
    """
    own = _settings_of(model) if model else {}
    if model and document is None:
        preset = "personal" if own["family"] == "compact" else "trocr-base"
        document = read_settings(preset) | {"name": own["name"]}
    values = merge(apply_overrides(document or {}, overrides), changes or {})
    if model:
        values["start"] = model
    elif isinstance(start := values.get("start"), str) and (start in SHIPPED or (Path(start) / INFO_NAME).is_file()):
        own = _settings_of(start)
    if own and values.setdefault("family", own["family"]) != own["family"]:
        raise ConfigError(
            f"{where}: is for family {values['family']!r}, and the model to start from is of family {own['family']!r}",
            hint=f"start from another model, or take settings with family: {own['family']}",
        )
    return build(TrainConfig, merge(own, values), where)


_OWN_NETWORK = ("start", "network", "charset", "ink")
"""Settings whose presence says that a run is not to start from the built-in model."""


def default_start(document: Mapping[str, Any] | None, overrides: Sequence[str] = ()) -> str | None:
    """The model that a run starts from where nothing is said of it.

    Args:
        document: As for `assemble`.
        overrides: As for `assemble`.

    Returns:
        The built-in model; None if the settings name another start, if only to say that there is none, describe a
        network of their own, or are for TrOCR.
    """
    values = apply_overrides(document or {}, overrides)
    is_own = any(name in values for name in _OWN_NETWORK) or values.get("family", "compact") != "compact"
    return None if is_own else "builtin"


def read_settings(name: str | Path) -> dict[str, Any]:
    """Read settings by the name of a preset, or from a file.

    Raises:
        ConfigError: If it is neither, or cannot be read.
    """
    if name in presets():
        return read_yaml(preset_path(str(name)))
    if not Path(name).is_file():
        raise ConfigError(f"{name}: is neither a file nor a preset{suggest(str(name), presets())}")
    return _of_one_family(read_yaml(Path(name)))  # JSON is YAML


def _settings_of(model: str) -> dict[str, Any]:
    """The settings that belong to the weights of a model."""
    info = describe(model).info
    values = {"family": info.family, "name": f"{info.name}-finetuned", "preprocess": dump(info.preprocess)}
    if info.family == "compact":
        network = info.provenance.get("training", {}).get("network", {})
        return values | {"charset": info.charset, "ink": dump(info.ink), "network": network}
    return values | {"canvas": dump(info.canvas), "generate": dump(info.generate)}


_OF_BOTH = {"charset", "network", "ink", "canvas", "labels", "shape", "tuning", "generate"}
"""Settings that the records of runs held for both families before each had its own part."""


def _of_one_family(values: dict[str, Any]) -> dict[str, Any]:
    """Settings without those of the other family, if they are the record of a run from when it held both."""
    if not values.keys() >= _OF_BOTH:
        return values
    other = TrocrPart if values.get("family", "compact") == "compact" else CompactPart
    names = {f.name for f in fields(other)} - {"family"}
    return {key: value for key, value in values.items() if key not in names}
