"""What a TrOCR model is made of and how it is read with; knows no torch, so that settings are checked without it."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from quillread.errors import ConfigError

_WIDEST, MOST_COUNT = 16_384, 1024
"""Bounds of widths and of counts, beyond which no machine holds a network."""


@dataclass(frozen=True, slots=True)
class TrocrShape:
    """Layers of a network that is trained from scratch; the defaults make about 9 million parameters."""

    encoder_width: int = 256
    encoder_layers: int = 6
    encoder_heads: int = 4
    decoder_width: int = 256
    decoder_layers: int = 4
    decoder_heads: int = 4
    feed_forward: int = 4
    """Width of the feed-forward layers, in widths of their block."""
    patch_height: int = 16
    patch_width: int = 16
    max_positions: int = 160
    """Most tokens of a line."""
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for part in ("encoder", "decoder"):
            width, heads = getattr(self, f"{part}_width"), getattr(self, f"{part}_heads")
            if not 1 <= width <= _WIDEST or heads < 1 or width % heads:
                raise ConfigError(
                    f"shape: {part}_width {width} must be a multiple of {part}_heads {heads}, at most {_WIDEST}"
                )
        for name in ("encoder_layers", "decoder_layers", "feed_forward", "patch_height", "patch_width"):
            if not 1 <= getattr(self, name) <= MOST_COUNT:
                raise ConfigError(f"shape.{name} must be from 1 to {MOST_COUNT}, got {getattr(self, name)}")
        if not 8 <= self.max_positions <= _WIDEST or not 0 <= self.dropout < 1:
            raise ConfigError(f"shape: max_positions must be from 8 to {_WIDEST}, dropout at least 0 and below 1")


DEFAULT_TOKENS = 20
"""Where transformers stops if nothing says how long a line may be; too soon for many lines."""
MOST_BEAMS = 100
"""More gain nothing, and each takes memory."""
_BEAMS = 4
"""Beams, at least, where several readings are asked for and nothing says how many."""
MOST_PENALTY = 100
"""Beyond it, lengths to this power are no numbers any more."""


@dataclass(frozen=True, slots=True)
class GenerateConfig:
    """How text is generated from a line image. The defaults leave all to the model's own generation settings."""

    beams: int | None = None
    """Hypotheses that are followed at once; 1 is greedy; None for the model's own `generation_config`."""
    alternatives: int = 0
    """Other readings that are given for each line, at most `beams` - 1; fewer if some have the same text. Where `beams`
    says nothing, at least 4 hypotheses are followed for them, and more if the model's own `generation_config` does."""
    max_tokens: int | None = None
    """Most tokens of a line, never more than the decoder has positions for; None for the model's own
    `generation_config`, or for 20, as in transformers, if that says nothing."""
    length_penalty: float | None = None
    """With beams: what the log probability of a text is divided by is its number of tokens to this power, so above 0
    longer texts gain; None for the model's own `generation_config`."""
    no_repeat_ngram_size: int | None = None
    """No run of this many tokens, at least 2, is written twice in a line; 0 for no such rule; None for the model's own
    `generation_config`. Handwriting does repeat: `guard_repeats` cuts only what never ends."""
    guard_repeats: bool = False
    """Cut a tail that repeats the same few tokens over and over while the model hardly looks on."""
    guard_tail: bool = False
    """Cut a tail that the ink has no room for, written after the model had looked at the line to its end."""
    split_long: float | None = None
    """Lines that the canvas narrows more than this many times over are cut at gaps, read in parts and joined; None for
    never. See `squash` in `images.fit`."""
    rows: Literal["ignore", "flag", "split"] = "ignore"
    """What to do with a crop that holds several lines of writing: nothing, warn, or read them one by one."""

    def __post_init__(self) -> None:
        if self.beams is not None and not 1 <= self.beams <= MOST_BEAMS:
            raise ConfigError(f"generate.beams must be from 1 to {MOST_BEAMS}, got {self.beams}")
        if not 0 <= self.alternatives < (self.beams or MOST_BEAMS):
            limit = "generate.beams" if self.beams else MOST_BEAMS
            raise ConfigError(f"generate.alternatives must be at least 0 and below {limit}, got {self.alternatives}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigError(f"generate.max_tokens must be at least 1, got {self.max_tokens}")
        if self.length_penalty is not None and not abs(self.length_penalty) <= MOST_PENALTY:
            raise ConfigError(
                f"generate.length_penalty must be from -{MOST_PENALTY} to {MOST_PENALTY}, got {self.length_penalty}"
            )
        size = self.no_repeat_ngram_size
        if size is not None and (size == 1 or not 0 <= size <= MOST_COUNT):
            # Of size 1 the token that starts a text counts, too, which in TrOCR is the one that ends it.
            raise ConfigError(f"generate.no_repeat_ngram_size must be 0 or from 2 to {MOST_COUNT}, got {size}")
        if self.split_long is not None and self.split_long < 1:
            raise ConfigError(f"generate.split_long must be at least 1, got {self.split_long}")

    def count_beams(self, own: int, readings: int) -> int:
        """Count the hypotheses that a search follows.

        Args:
            own: As many as the model's `generation_config` says.
            readings: How many texts of each line are wanted, at least.
        """
        if self.beams is not None:
            return max(self.beams, readings)
        # Those of the model are never narrowed: that would change its text.
        return own if readings == 1 else max(own, _BEAMS, readings)


_NOT_STORED = ("draft", "precision", "static_cache")


@dataclass(frozen=True, slots=True)
class GenerateChanges:
    """What is asked of a reading in place of the settings that are stored with a model; None leaves each as it is."""

    beams: int | None = None
    """See `GenerateConfig`, as for all of these."""
    alternatives: int | None = None
    max_tokens: int | None = None
    length_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    guard_repeats: bool | None = None
    guard_tail: bool | None = None
    split_long: float | None = None
    """0 for never."""
    rows: Literal["ignore", "flag", "split"] | None = None
    draft: bool | None = None
    """Exported models, greedy search: whether the built-in model reads each line first, and the search follows what it
    read as far as it would have written the same. The text is the same, but where two tokens are as likely as each
    other to the last bits of a float32. If not given, it does where the text comes sooner, as in trocr-base, whose
    passes are dear; True is refused where no draft can be followed. Not stored with a model, nor counted among what a
    reading was made with."""
    precision: Literal["fp32", "bf16", "fp16"] | None = None
    """Number type of the network, but for exported models, whose type is that of the export; float32 if not given. fp16
    needs a GPU. Not stored with a model: what computes fast depends on the machine."""
    static_cache: bool | None = None
    """Not for exported models: keep what the decoder has computed in memory of a fixed size, for as many tokens as a
    line may have. On a GPU transformers then compiles the steps of the decoder; elsewhere it gains nothing. The text is
    the same. Not stored with a model."""

    def __post_init__(self) -> None:
        self.apply(GenerateConfig())  # what is out of range for all models is told before one is loaded

    @property
    def given(self) -> dict[str, Any]:
        """Those that are asked for, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def apply(self, stored: GenerateConfig) -> GenerateConfig:
        """Put them on top of what is stored with a model.

        Raises:
            ConfigError: If a value is out of range, or the values do not go together.
        """
        given = self.given
        for name in _NOT_STORED:
            given.pop(name, None)
        if given.get("split_long") == 0:
            given["split_long"] = None
        return replace(stored, **given)
