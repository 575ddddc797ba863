"""TrOCR checkpoints with random weights, in the shapes and the form in which Microsoft published theirs.

    python benchmarks/trocr_models.py base DIR

`DIR/model` then holds the checkpoint: names of tensors as in transformers 4, no pooler, tied weights once, the settings
of the published files, a tokenizer of the published size whose merges are made up. `DIR/lines` holds a few lines to
train on. So everything costs what it costs with a published checkpoint, and nothing is downloaded.
"""

import argparse
import contextlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from tokenizers.pre_tokenizers import ByteLevel
from torch.utils.flop_counter import FlopCounterMode
from transformers import GenerationConfig, VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from transformers.utils import logging

VOCABULARY = 50_265
"""Pieces of the byte-level BPE that base and large use."""
CANVAS = 384
"""Height and width of the images, in pixels."""
TEXT = "the quick brown fox"
"""On every line that is drawn; 13 tokens and the end."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What sets the published networks apart; the defaults are the decoder of base and large."""

    width: int
    layers: int
    heads: int
    encoder: str = "vit"
    decoder_width: int = 1024
    decoder_layers: int = 12
    decoder_heads: int = 16
    activation: str = "gelu"
    ties: bool = True
    """Whether the scores of the tokens come from the table of their embeddings."""


SHAPES = {
    "base": Shape(768, 12, 12),
    "large": Shape(1024, 24, 16),
    "small": Shape(384, 12, 6, "deit", 256, 6, 8, "relu", ties=False),
}
"""trocr-base-handwritten, 334 million parameters, trocr-large-handwritten, 558 million; trocr-small-handwritten with
the tokens of the others: 50,265 in place of 64,044."""


def main() -> None:
    """Write a checkpoint and a few lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=sorted(SHAPES))
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--lines", type=int, default=4, metavar="N", help="default: %(default)s")
    arguments = parser.parse_args()
    write_checkpoint(arguments.folder / "model", SHAPES[arguments.shape])
    write_lines(arguments.folder / "lines", arguments.lines)


def write_checkpoint(folder: Path, shape: Shape) -> None:
    """Write a model folder with random weights."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(0)
    network = make_network(shape)
    network.generation_config = GenerationConfig(
        bos_token_id=0, decoder_start_token_id=2, eos_token_id=2, pad_token_id=1
    )
    network.save_pretrained(folder)
    write_tokenizer(folder)
    half = [0.5, 0.5, 0.5]
    processor = {"do_normalize": True, "do_resize": True, "image_mean": half, "image_std": half, "size": CANVAS}
    processor |= {"feature_extractor_type": "ViTFeatureExtractor", "resample": 2}
    for name, values in (("config.json", published_config(shape)), ("preprocessor_config.json", processor)):
        (folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def tokens_written(network: Any, image: Any, most: int) -> list[int]:
    """The tokens that an exported network, an `OnnxTrocr`, writes by itself for a line image."""
    from quillread.models.trocr.settings import GenerateConfig
    from quillread.recognize.trocr.backend import LinePicture
    from quillread.recognize.trocr.onnx_backend import ExportedTrocr

    # On a canvas that squashes, nothing is padded.
    written = ExportedTrocr(network, GenerateConfig(max_tokens=most)).write([LinePicture(image, image)], 1)
    return list(written[0][0].tokens)


@contextlib.contextmanager
def drafting(tokens: Sequence[int], every: int) -> Iterator[None]:
    """Let every draft be some tokens, with every n-th of them another."""
    from quillread.recognize.trocr.drafts import Draft

    drafted = [100 if i % every == every - 1 else token for i, token in enumerate(tokens)]
    real, Draft.ahead = Draft.ahead, lambda _, written: drafted[len(written) :]  # type: ignore[method-assign]
    try:
        yield
    finally:
        Draft.ahead = real  # type: ignore[method-assign]


def make_network(shape: Shape) -> Any:
    """Make a network with random weights on torch's current default device."""
    network = VisionEncoderDecoderModel(VisionEncoderDecoderConfig(**published_config(shape)))
    network.encoder.pooler = None  # the published files have none
    return network


def write_tokenizer(folder: Path) -> None:
    """Write a byte-level BPE with as many pieces as the published one; any two characters may be one token."""
    letters = sorted(ByteLevel.alphabet())
    merges = list(itertools.islice(itertools.product(letters, letters), VOCABULARY - len(letters) - 5))
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *letters, *(a + b for a, b in merges), "<mask>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    roles = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "sep": "</s>", "cls": "<s>", "pad": "<pad>", "mask": "<mask>"}
    settings = {f"{role}_token": piece for role, piece in roles.items()} | {"tokenizer_class": "RobertaTokenizer"}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(("#version: 0.2", *(f"{a} {b}" for a, b in merges), "")), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def write_lines(folder: Path, count: int) -> None:
    """Write images of one line with their texts."""
    folder.mkdir(parents=True)
    for number in range(count):
        draw_line().save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(TEXT + "\n", encoding="utf-8")


def draw_line() -> Image.Image:
    """Draw printed text as a line image, RGB, 64 pixels high."""
    font = ImageFont.load_default(40)
    image = Image.new("RGB", (int(font.getlength(TEXT)) + 40, 64), "white")
    ImageDraw.Draw(image).text((20, 6), TEXT, "black", font)
    return image


def make_batch(lines: int, tokens: int, height: int, width: int, *, as_bytes: bool = False) -> dict[str, torch.Tensor]:
    """Make up a batch of one step: noise for images, any tokens for labels, none of them padding.

    Args:
        lines: How many.
        tokens: Of each.
        height: Of the images, in pixels.
        width: Of the images, in pixels.
        as_bytes: Pixels are uint8, as in our batches; else numbers, as the image processor gives them.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (lines, 3, height, width)
    noise = torch.randn(shape, generator=generator)
    return {
        "pixel_values": (noise * 40 + 128).clamp(0, 255).to(torch.uint8) if as_bytes else noise,
        "labels": torch.randint(4, VOCABULARY, (lines, tokens), generator=generator),
    }


def count_flops(shape: Shape, tokens: int) -> int:
    """Count the floating-point operations that one line takes, forward and backward, from the shapes alone."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        # In training, transformers 5.17 draws numbers and looks at them, which cannot be done here.
        network = make_network(shape).eval()
        batch = {name: value.to("meta") for name, value in make_batch(1, tokens, CANVAS, CANVAS).items()}
        network(pixel_values=batch["pixel_values"], decoder_input_ids=batch["labels"]).logits.sum().backward()
    return int(counter.get_total_flops())


def published_config(shape: Shape) -> dict[str, Any]:
    """`config.json`, without the generation settings and empty fields that transformers 4 put into it as well."""
    encoder = {
        "model_type": shape.encoder,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": 4 * shape.width,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "image_size": CANVAS,
        "patch_size": 16,
        "num_channels": 3,
        "qkv_bias": shape.encoder == "deit",
        "layer_norm_eps": 1e-12,
    }
    decoder = {
        "model_type": "trocr",
        "vocab_size": VOCABULARY,
        "d_model": shape.decoder_width,
        "decoder_layers": shape.decoder_layers,
        "decoder_attention_heads": shape.decoder_heads,
        "decoder_ffn_dim": 4 * shape.decoder_width,
        "activation_function": shape.activation,
        "max_position_embeddings": 512,
        "cross_attention_hidden_size": shape.width,
        "layernorm_embedding": True,
        "scale_embedding": not shape.ties,
        "use_learned_position_embeddings": True,
        "tie_word_embeddings": shape.ties,
        "add_cross_attention": True,
        "is_decoder": True,
        "dropout": 0.1,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "use_cache": False,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
    }
    return {
        "architectures": ["VisionEncoderDecoderModel"],
        "model_type": "vision-encoder-decoder",
        "is_encoder_decoder": True,
        "tie_word_embeddings": False,
        "eos_token_id": 2,
        "encoder": encoder,
        "decoder": decoder,
    }


if __name__ == "__main__":
    main()
