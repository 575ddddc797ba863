"""What a network says about the texts that it wrote: how probable each token is, and where it looked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, StaticCache
from transformers.modeling_outputs import BaseModelOutput

from quillread.models.trocr.pixels import as_pair
from quillread.recognize.trocr.backend import Written

_TOKENS_AT_ONCE = 1024
"""Tokens whose attention is held at once: 450 MB for TrOCR-base at 384 x 384."""


def count_positions(network: Any) -> int:
    """Count the tokens that the decoder has positions for, the one that starts a text included."""
    return int(network.config.decoder.max_position_embeddings)


def score_texts(network: Any, encoded: Tensor, generated: Any, size: Sequence[int]) -> list[list[Written]]:
    """Run the decoder over the texts that it wrote, all tokens at once.

    The probabilities are the network's own, whatever a search has forbidden, favoured or forced. What the decoder has
    already computed of the image is used again: that is the greater part of the work.

    Args:
        network: A VisionEncoderDecoderModel.
        encoded: States of the encoder, (N, states, width).
        generated: What `generate` returned: one or more texts for each image. Its cache is used up.
        size: Height and width of the images that the encoder saw, in pixels.

    Returns:
        For each image its texts, in the order of `generated`.
    """
    grid = _patch_grid(network, size, encoded.shape[1])
    sequences = generated.sequences
    each = len(sequences) // len(encoded)
    step = max(1, _TOKENS_AT_ONCE // sequences.shape[1])
    images = _keep_images(generated.past_key_values, len(encoded)) if len(encoded) <= step else None
    ranks = []
    for rank in range(each):
        chunks = zip(torch.split(encoded, step), torch.split(sequences[rank::each], step), strict=True)
        ranks.append([written for states, rows in chunks for written in _score(network, states, rows, images, grid)])
    return [list(texts) for texts in zip(*ranks, strict=True)]


def _keep_images(cache: Any, count: int) -> Any:
    """Take what the decoder computed of the images out of its cache, one row an image; None if it is not there."""
    images = getattr(cache, "cross_attention_cache", None)
    if images is None or not len(images):
        return None
    beams = images.layers[0].keys.shape[0] // count
    if beams > 1 and isinstance(images, StaticCache):
        return None  # its rows cannot be chosen
    if beams > 1:
        # All beams of a line look at the same image.
        images.batch_select_indices(torch.arange(count, device=images.layers[0].keys.device) * beams)
    return images


def _score(
    network: Any, encoded: Tensor, sequences: Tensor, images: Any, grid: tuple[int, int] | None
) -> list[Written]:
    inputs, tokens = sequences[:, : count_positions(network)], sequences[:, 1:]
    output = network(
        encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
        decoder_input_ids=inputs,
        past_key_values=None if images is None else EncoderDecoderCache(DynamicCache(), images),
        output_attentions=True,
        use_cache=images is not None,
        return_dict=True,
    )
    logits = output.logits.float()
    norms = logits.logsumexp(-1)
    scores = logits[:, : tokens.shape[1]].gather(-1, tokens[..., None])[..., 0] - norms[:, : tokens.shape[1]]
    ends = np.atleast_1d(np.asarray(network.generation_config.eos_token_id)).tolist()
    over = logits[..., ends].logsumexp(-1) - norms
    attention = _by_column(output.cross_attentions, grid, inputs.shape)
    rows = zip(tokens.tolist(), scores.tolist(), over.tolist(), attention, strict=True)
    return [_cut_at_end(*row, ends) for row in rows]


def _cut_at_end(
    tokens: list[int], scores: list[float], over: list[float], attention: NDArray[np.float32], ends: list[int]
) -> Written:
    stop = next((i for i, token in enumerate(tokens) if token in ends), None)
    length = len(tokens) if stop is None else stop
    return Written(tokens[:length], stop is not None, scores[:length], over[: length + 1], attention[:, :length])


def _patch_grid(network: Any, size: Sequence[int], states: int) -> tuple[int, int] | None:
    """Rows and columns of the encoder's patches; None if its states are not those of a plain grid of patches.

    ViT puts one state before those of the patches, DeiT two.
    """
    patch = getattr(network.config.encoder, "patch_size", None)
    if patch is None:
        return None
    height, width = as_pair(patch)
    rows, columns = size[0] // height, size[1] // width
    return (rows, columns) if 0 <= states - rows * columns <= 2 else None


def _by_column(
    attentions: Sequence[Tensor | None] | None, grid: tuple[int, int] | None, shape: Sequence[int]
) -> NDArray[np.float32]:
    """Sum the attention of all layers over the rows of patches: (N, heads of all layers, T, columns)."""
    given = [layer for layer in attentions or () if layer is not None]
    if grid is None or not given:
        # Another encoder, or a decoder whose attention is not given out.
        return np.ones((shape[0], 1, shape[1], 1), np.float32)
    rows, columns = grid
    sums = [layer[..., -rows * columns :].reshape(*layer.shape[:3], rows, columns).sum(3).float() for layer in given]
    return np.asarray(torch.cat(sums, dim=1).cpu().numpy())
