"""Exports a TrOCR model: a folder that is read without torch, and faster on a CPU with eight-bit weights."""

import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.modeling_outputs import BaseModelOutput

from quillread.errors import ModelError
from quillread.models.catalog import ModelEntry
from quillread.models.model_folder import CARD_NAME, write_info
from quillread.models.trocr.adapters import open_trocr
from quillread.models.trocr.files import replace_folder
from quillread.models.trocr.loading import Trocr
from quillread.models.trocr.onnx_export import check_network, write_networks
from quillread.models.trocr.onnx_folder import TOKENIZER_NAME, TrocrFacts, WeightType, write_facts
from quillread.models.trocr.onnx_network import OnnxTrocr
from quillread.models.trocr.pixels import as_pair, line_pixels, only_resizes, set_canvas
from quillread.models.trocr.settings import DEFAULT_TOKENS

log = logging.getLogger(__name__)

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "do_sample": (None, False),
    "repetition_penalty": (None, 1.0),
    "encoder_repetition_penalty": (None, 1.0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "bad_words_ids": (None,),
    "force_words_ids": (None,),
    "constraints": (None,),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "suppress_tokens": (None, []),
    "begin_suppress_tokens": (None, []),
    "sequence_bias": (None,),
    "exponential_decay_length_penalty": (None,),
    "diversity_penalty": (None, 0.0),
    "num_beam_groups": (None, 1),
    "penalty_alpha": (None,),
    "guidance_scale": (None, 1.0),
    "max_time": (None,),
    "stop_strings": (None,),
    "remove_invalid_values": (None, False),
    "renormalize_logits": (None, False),
}
"""Settings of transformers' generation that are not known here -> values with which they do nothing."""
_FAR = 1e-3
"""Largest difference of a log probability between the export, in float32, and torch."""


def export(entry: ModelEntry, target: Path, weights: WeightType) -> None:
    """Export a model.

    Args:
        entry: A TrOCR model in safetensors; adapters are merged into the model that they belong to.
        target: Folder to make.
        weights: Number type of the matrices.

    Raises:
        ModelError: If a part of the model cannot be exported, or the export does not compute the same.
        OutputError: If it cannot be written.
    """
    model = open_trocr(entry.folder)
    if entry.info.canvas is not None:
        set_canvas(model, entry.info.canvas.height, entry.info.canvas.width)
    check_network(model.network)
    facts = find_facts(model, weights)
    with replace_folder(target) as part:
        write_networks(model, part, weights)
        model.tokenizer.backend_tokenizer.save(str(part / TOKENIZER_NAME))
        write_facts(facts, part)
        write_info(entry.info, part)
        card = entry.folder / CARD_NAME
        if card.is_file():
            told = card.read_text(encoding="utf-8", errors="replace")
            (part / CARD_NAME).write_text(
                f"{told}\n## Export\n\nMade by `quill models export`, weights {weights}. "
                "The figures above are those of the network before.\n",
                encoding="utf-8",
            )
        difference = compare(model, OnnxTrocr(part))
        if weights == "float32" and difference > _FAR:
            raise ModelError(f"{entry.name}: the export differs from torch by {difference:.2g} in a log probability")
        log.info("%s: log probabilities differ from torch's by %.2g at most", target, difference)


def find_facts(model: Trocr, weights: WeightType) -> TrocrFacts:
    """What the export is to know of a model.

    Raises:
        ModelError: If its image processor or its generation settings are of a kind that is not known.
    """
    decoder, own, processor = model.network.config.decoder, model.network.generation_config, model.image_processor
    if not only_resizes(processor):
        raise ModelError(f"its image processor does more than resize: {type(processor).__name__} cannot be exported")
    for name, neutral in _NEUTRAL.items():
        value = getattr(own, name, None)
        if value not in neutral:
            hint = "remove it from generation_config.json, or read the model with torch"
            raise ModelError(f"the generation setting {name} = {value!r} is not known to exported models", hint=hint)
    if own.no_repeat_ngram_size == 1:
        hint = "remove it from generation_config.json: it lets no token come twice in a line"
        raise ModelError("the generation setting no_repeat_ngram_size = 1 is not known to exported models", hint=hint)
    height, width = as_pair(model.network.config.encoder.image_size)
    ends = np.atleast_1d(np.asarray(own.eos_token_id)).tolist()
    tokens = own.max_new_tokens or ((own.max_length or DEFAULT_TOKENS + 1) - 1)
    return TrocrFacts(
        weights=weights,
        height=height,
        width=width,
        resample=int(processor.resample),
        layers=decoder.decoder_layers,
        heads=decoder.decoder_attention_heads,
        head_width=decoder.hidden_size // decoder.decoder_attention_heads,
        positions=decoder.max_position_embeddings,
        vocabulary=decoder.vocab_size,
        start=model.network.config.decoder_start_token_id,
        ends=tuple(ends),
        beams=own.num_beams or 1,
        max_tokens=max(1, min(int(tokens), decoder.max_position_embeddings - 1)),
        length_penalty=1.0 if own.length_penalty is None else float(own.length_penalty),
        early_stopping=own.early_stopping or False,
        no_repeat_ngram=own.no_repeat_ngram_size or 0,
        cleans_spaces=_cleans_spaces(model.tokenizer),
        onnxruntime=version("onnxruntime"),
    )


def _cleans_spaces(tokenizer: Any) -> bool:
    """Whether transformers 5.23 drops spaces before punctuation: of BPE it does so only where it is told twice."""
    if type(tokenizer.backend_tokenizer.model).__name__ == "BPE":
        twice = tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output
        return bool(tokenizer.clean_up_tokenization_spaces and twice)
    return bool(tokenizer.clean_up_tokenization_spaces)


@torch.inference_mode()
def compare(model: Trocr, exported: OnnxTrocr, tokens: int = 12) -> float:
    """The largest difference of a log probability between a model and its export, on an image of noise.

    Args:
        model: In torch.
        exported: Its export.
        tokens: How many are looked at.
    """
    facts, draws = exported.facts, np.random.default_rng(0)
    count = min(tokens, facts.positions)
    image = np.asarray(draws.integers(0, 256, (facts.height, facts.width, 3)), np.uint8)
    whole = np.asarray([facts.start, *draws.integers(0, facts.vocabulary, count - 1)], np.int64)
    if (pad := model.network.config.decoder.pad_token_id) is not None:
        whole[whole == pad] = facts.start  # transformers gives padding no position
    encoded = model.network.encoder(pixel_values=torch.from_numpy(line_pixels(model.image_processor, [image])))
    output = model.network(
        encoder_outputs=BaseModelOutput(last_hidden_state=encoded.last_hidden_state),
        decoder_input_ids=torch.from_numpy(whole[None]),
    )
    wanted: NDArray[np.float32] = output.logits.float().log_softmax(-1).numpy()
    mask = np.where(np.tri(count, dtype=bool), np.float32(0), np.float32(-1e9))[None, None].astype(np.float32)
    none = np.zeros((1, facts.heads, 0, facts.head_width), np.float32)
    seen = exported.make_room(1)
    exported.look(exported.pixels(image), seen)
    found = exported.step(
        whole[None],
        np.arange(count)[None],
        mask,
        [none] * (2 * facts.layers),
        seen,
    )
    return float(np.abs(found.log_probs - wanted).max())
