"""What the model that a command names can learn to write."""

from typing import TYPE_CHECKING

from quillread.errors import ModelError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from quillread.data.check import Limits


def model_limits(name: str, max_tokens: int | None = None) -> "Limits":
    """Find out what a model can write, without loading its weights.

    Args:
        name: As of `--model`.
        max_tokens: Most tokens of a line, if the training is told `labels.max_length`; TrOCR only.

    Raises:
        ModelError: If there is no such model, or it is damaged.
        UsageError: If tokens are limited that the model does not have.
    """
    from quillread.data.check import CtcLimits, TokenLimits
    from quillread.models.catalog import describe
    from quillread.text.charset import Charset

    entry = describe(name)
    if entry.info.family == "compact":
        if max_tokens is not None:
            raise UsageError(f"{name} writes characters, not tokens", hint="leave out --max-tokens")
        return CtcLimits(Charset(entry.info.charset), entry.info.ink.height / entry.info.column_width)
    from quillread.text.tokenizer import TokenizerSpeller, load_tokenizer

    positions = _positions(entry.folder)
    return TokenLimits(TokenizerSpeller(load_tokenizer(entry.folder), min(max_tokens or positions, positions)))


def _positions(folder: "Path") -> int:
    from quillread.models.trocr.files import read_config

    decoder = read_config(folder).get("decoder")
    positions = decoder.get("max_position_embeddings") if isinstance(decoder, dict) else None
    if not isinstance(positions, int):
        raise ModelError(f"{folder}: its config.json does not say how many positions the decoder has")
    return positions
