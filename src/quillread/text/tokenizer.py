"""TrOCR's tokenizers: byte-level BPE (base, large) and sentencepiece (small).

The class is always named, never guessed by transformers' Auto classes: an XLM-R class on BPE files loads, and then
yields `<unk>` without a word.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from quillread.errors import ModelError
from quillread.extras import require

Kind = Literal["bpe", "sentencepiece"]

_SETTINGS = "tokenizer_config.json"
_JSON = "tokenizer.json"
_FILES: dict[Kind, tuple[str, ...]] = {
    "bpe": ("vocab.json", "merges.txt"),
    "sentencepiece": ("sentencepiece.bpe.model",),
}
_CLASSES: dict[Kind, str] = {"bpe": "RobertaTokenizer", "sentencepiece": "XLMRobertaTokenizer"}
_JSON_MODELS: dict[str, Kind] = {"BPE": "bpe", "Unigram": "sentencepiece"}
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "cls_token", "pad_token", "mask_token")
_HINT = "copy the tokenizer's files from the model that this one was trained from"


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a model folder, by the class that its settings name and its files bear out.

    Files are `tokenizer.json`, or `vocab.json` with `merges.txt`, or `sentencepiece.bpe.model`.

    Returns:
        transformers' RobertaTokenizer or XLMRobertaTokenizer.

    Raises:
        ModelError: If there is no tokenizer, its class and its files do not belong together, it is of another kind, or
            a file is damaged.
        MissingExtraError: If transformers is not installed.
    """
    settings = _read_json(folder / _SETTINGS) if (folder / _SETTINGS).is_file() else {}
    kind = _kind_of(folder, settings)
    transformers = require("transformers", "train")
    try:
        if kind == "sentencepiece" and not (folder / _JSON).is_file():
            tokenizer = _from_sentencepiece(folder, settings)
        else:
            tokenizer = getattr(transformers, _CLASSES[kind]).from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises plain Exception; the cause is kept
        raise ModelError(f"{folder}: its tokenizer cannot be read: {error}", hint=_HINT) from error
    if tokenizer.eos_token_id is None or tokenizer.eos_token_id == tokenizer.unk_token_id:
        raise ModelError(f"{folder}: its tokenizer has no token for the end of a line", hint=_HINT)
    return tokenizer


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Turn a text into the labels of TrOCR: no token for the start, as the decoder adds its own, and one for the end.

    Args:
        tokenizer: From `load_tokenizer`.
        text: One line.
    """
    return [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]


def decode_tokens(tokenizer: Any, ids: Sequence[int]) -> str:
    """Turn tokens into text as transformers does, without special tokens."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True))


class TokenizerSpeller:
    """What a TrOCR model can write.

    Args:
        tokenizer: From `load_tokenizer`.
        max_length: Most tokens of a line, the end included.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self._tokenizer = tokenizer
        self.max_length = max_length

    def length(self, text: str) -> int:
        """Tokens of a text, the end included."""
        return len(encode_text(self._tokenizer, text))

    def unknown(self, text: str) -> Counter[str]:
        """Count the characters that are lost, or become others, on the way to tokens and back.

        Spaces are not looked at: sentencepiece takes several for one.
        """
        back = decode_tokens(self._tokenizer, encode_text(self._tokenizer, text))
        lost = Counter(text) - Counter(back)
        del lost[" "]
        return lost


def _kind_of(folder: Path, settings: dict[str, Any]) -> Kind:
    found = {kind for kind, names in _FILES.items() if all((folder / name).is_file() for name in names)}
    if (folder / _JSON).is_file():
        model = _read_json(folder / _JSON).get("model")
        named = model.get("type") if isinstance(model, dict) else None
        if named not in _JSON_MODELS:
            raise ModelError(f"{folder}: the tokenizer in its {_JSON} is of type {named!r}, not BPE or Unigram")
        found = {_JSON_MODELS[named]}  # transformers prefers this file to the others
    if not found:
        known = " or ".join((_JSON, *(" with ".join(names) for names in _FILES.values())))
        raise ModelError(f"{folder}: has no tokenizer: {known}", hint=_HINT)
    named = settings.get("tokenizer_class")
    if named is None and len(found) == 1:
        return found.pop()
    for kind, name in _CLASSES.items():
        if named in (name, f"{name}Fast"):
            if kind in found:
                return kind
            raise ModelError(
                f"{folder}: its {_SETTINGS} names {named}, but its files are those of a {_CLASSES[found.pop()]}",
                hint=_HINT,
            )
    raise ModelError(
        f"{folder}: its {_SETTINGS} names the tokenizer class {named!r}, not {' or '.join(_CLASSES.values())}",
        hint=_HINT,
    )


def _from_sentencepiece(folder: Path, settings: dict[str, Any]) -> Any:
    """Build an XLM-R tokenizer from a sentencepiece file, without the package sentencepiece.

    transformers 5.23 reads such files only with it, though the file is a protocol buffer and the rest is there.
    The first four pieces are in fairseq's order, not in that of the file.
    """
    transformers = require("transformers", "train")
    proto = require("transformers.convert_slow_tokenizer", "train").import_protobuf().ModelProto()
    proto.ParseFromString((folder / _FILES["sentencepiece"][0]).read_bytes())
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    if [piece for piece, _ in pieces[:3]] != ["<unk>", "<s>", "</s>"]:
        raise ValueError(f"its first pieces are {', '.join(piece for piece, _ in pieces[:3]) or 'missing'}")
    special = {name: settings[name] for name in _SPECIAL if name in settings}
    special = {name: token["content"] if isinstance(token, dict) else token for name, token in special.items()}
    order = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")]
    return transformers.XLMRobertaTokenizer(
        vocab=[*order, *pieces[3:], ("<mask>", 0.0)],
        _spm_precompiled_charsmap=proto.normalizer_spec.precompiled_charsmap or None,
        **special,
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read: {error}", hint=_HINT) from error
    if not isinstance(values, dict):
        raise ModelError(f"{path}: holds a {type(values).__name__}, not settings", hint=_HINT)
    return values
