"""TrOCR-shaped networks from scratch."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn
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
from quillread.images.canvas import CanvasConfig
from quillread.models.trocr import Trocr
from quillread.models.trocr_config import TrocrShape
from quillread.text.tokenizer import load_tokenizer

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
    mean = [0.5, 0.5, 0.5]
    size = {"height": canvas.height, "width": canvas.width}
    return Trocr(network.eval(), tokenizer, ViTImageProcessorPil(size=size, image_mean=mean, image_std=mean))


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
        max_position_embeddings=shape.max_positions,
        cross_attention_hidden_size=shape.encoder_width,
        decoder_start_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


@torch.no_grad()
def _initialise(network: nn.Module) -> None:
    """Give the linear layers weights that keep the size of their input at any width.

    transformers' standard deviation of 0.02 suits networks about 1000 wide: in narrower ones each layer adds next to
    nothing at first, and the training starts slowly (Glorot and Bengio 2010).
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) and not name.endswith("output_projection"):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Conv2d):
            fan_in = math.prod(module.weight.shape[1:])
            nn.init.trunc_normal_(module.weight, std=fan_in**-0.5)
