"""TrOCR-shaped networks from scratch."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    RobertaTokenizer,
    TrOCRConfig,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessorPil,
)

from quillread.errors import ModelError
from quillread.images.fit import CanvasConfig
from quillread.models.trocr.loading import Trocr
from quillread.models.trocr.pixels import as_pair
from quillread.models.trocr.settings import TrocrShape
from quillread.text.tokenizer import load_tokenizer

_MEAN, _DEVIATION = 0.9, 0.2
"""Of the pixels of line images on a canvas, 0 to 1: most are paper. With the 0.5 of the published checkpoints a network
from scratch sees nearly the same large values everywhere, and learns to look at the image much later."""

_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")


def new_trocr(shape: TrocrShape, canvas: CanvasConfig, tokenizer_folder: Path | None, seed: int) -> Trocr:
    """Make a network with random weights: a ViT encoder and TrOCR's decoder with learned positions.

    Args:
        shape: Its layers.
        canvas: Size of the images, in whole patches.
        tokenizer_folder: Folder with the files of a tokenizer; None for one whose pieces are the 256 bytes.
        seed: Of the weights.

    Raises:
        ModelError: If the canvas is not made of whole patches, or the folder holds no tokenizer.
    """
    patch = (shape.patch_height, shape.patch_width)
    if canvas.height % patch[0] or canvas.width % patch[1]:
        raise ModelError(
            f"a canvas of {canvas.height} x {canvas.width} pixels is not made of whole patches of {patch[0]} x "
            f"{patch[1]}",
            hint="choose multiples of the patch",
        )
    tokenizer = load_tokenizer(tokenizer_folder) if tokenizer_folder else make_byte_tokenizer()
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        _encoder_config(shape, canvas), _decoder_config(shape, tokenizer)
    )
    # The weights come from torch's global generator: it is put back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = VisionEncoderDecoderModel(config)
        _initialise(network)
    network.encoder.pooler.requires_grad_(False)
    network.config.decoder_start_token_id = tokenizer.eos_token_id
    network.config.pad_token_id = tokenizer.pad_token_id
    network.generation_config = GenerationConfig(
        max_length=shape.max_positions,
        decoder_start_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    size = {"height": canvas.height, "width": canvas.width}
    processor = ViTImageProcessorPil(size=size, image_mean=[_MEAN] * 3, image_std=[_DEVIATION] * 3)
    return Trocr(network.eval(), tokenizer, processor)


def make_byte_tokenizer() -> Any:
    """Make a byte-level BPE without merges: every byte of the text is a token, so that nothing is unknown."""
    # The printable stand-ins of the bytes, as in GPT-2's `bytes_to_unicode`.
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    pieces = [*_SPECIAL, *map(chr, kept), *(chr(256 + i) for i in range(len(others))), "<mask>"]
    return RobertaTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[])


def _encoder_config(shape: TrocrShape, canvas: CanvasConfig) -> ViTConfig:
    return ViTConfig(
        hidden_size=shape.encoder_width,
        num_hidden_layers=shape.encoder_layers,
        num_attention_heads=shape.encoder_heads,
        intermediate_size=shape.feed_forward * shape.encoder_width,
        hidden_dropout_prob=shape.dropout,
        image_size=[canvas.height, canvas.width],
        patch_size=[shape.patch_height, shape.patch_width],
    )


def _decoder_config(shape: TrocrShape, tokenizer: Any) -> TrOCRConfig:
    return TrOCRConfig(
        vocab_size=len(tokenizer),
        d_model=shape.decoder_width,
        decoder_layers=shape.decoder_layers,
        decoder_attention_heads=shape.decoder_heads,
        decoder_ffn_dim=shape.feed_forward * shape.decoder_width,
        dropout=shape.dropout,
        scale_embedding=True,
        max_position_embeddings=shape.max_positions,
        cross_attention_hidden_size=shape.encoder_width,
        decoder_start_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


@torch.no_grad()
def _initialise(network: Any) -> None:
    """Give the weights a size at which the image reaches the decoder from the first step on.

    transformers' standard deviation of 0.02 suits networks about 1000 wide with pretrained positions. With it, the
    positions of a small network are drowned by the patches, and what all patches have in common, the paper, grows from
    layer to layer: it learns its texts by heart and does not look at the image for thousands of steps.
    """
    encoder, decoder = network.encoder, network.decoder.model.decoder
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) and not name.endswith("output_projection"):
            nn.init.xavier_uniform_(module.weight)  # Glorot and Bengio 2010
            if name.endswith(("o_proj", "out_proj", "fc2")):
                # Radford et al. 2019: what the layers add to the stream must not grow with their number.
                layers = len(encoder.layers) if name.startswith("encoder") else len(decoder.layers)
                module.weight.mul_((2 * layers) ** -0.5)
    projection = encoder.embeddings.patch_embeddings.projection
    nn.init.trunc_normal_(projection.weight, std=0.5 * math.prod(projection.weight.shape[1:]) ** -0.5)
    # Both halves from one table: a place on the line and a place in the text can be compared from the start.
    written, seen = decoder.embed_positions.weight, encoder.embeddings.position_embeddings[0]
    written.copy_(_sinusoids(*written.shape))
    size, patch = as_pair(encoder.config.image_size), as_pair(encoder.config.patch_size)
    rows, columns = size[0] // patch[0], size[1] // patch[1]
    table = _sinusoids(1 + columns, seen.shape[1])
    seen[0] = table[0]
    # Patches above each other are at the same place on the line, and told apart by what is added.
    heights = torch.randn(rows, 1, seen.shape[1]) * 0.5 if rows > 1 else 0.0
    seen[1:] = (table[1:] + heights).reshape(-1, seen.shape[1])
    # The same table gives the tokens' scores: multiplied by the root of the width on the way in (scale_embedding).
    decoder.embed_tokens.weight.normal_(std=decoder.embed_tokens.embedding_dim**-0.5)
    decoder.embed_tokens.weight[decoder.padding_idx].zero_()


def _sinusoids(count: int, width: int) -> Tensor:
    """Positions as waves of many lengths, float32 (count, width), -1 to 1 (Vaswani et al. 2017)."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(count)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]
