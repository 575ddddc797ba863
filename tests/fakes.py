"""Stand-ins and tiny data sets for the tests, made on the fly."""

import copy
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from quillread.decode.ctc import LogProbs
from quillread.images.fit import InkConfig
from quillread.models.model_folder import ONNX_NAME, ModelInfo, write_info
from quillread.recognize.ctc import CtcEngine
from quillread.recognize.recognizer import LineRecognizer

BAR_CHARSET = "abcde "
_BAR_HEIGHT, _BAR_WIDTH, _BAR_STEP = 48, 4, 4


def draw_bars(marks: Mapping[int, str], columns: int, scale: int = 1) -> NDArray[np.uint8]:
    """Draw a line image that `BarBackend` reads: class k of the charset is a bar 4 k rows high.

    Args:
        marks: Character by output column.
        columns: Width of the line in output columns.
        scale: Size of the image over that of the model's pixels.
    """
    grey = np.full((_BAR_HEIGHT, columns * _BAR_WIDTH), 255, np.uint8)
    for column, character in marks.items():
        height = _BAR_STEP * (BAR_CHARSET.index(character) + 1)
        grey[:height, column * _BAR_WIDTH : (column + 1) * _BAR_WIDTH] = 0
    large = grey.repeat(scale, axis=0).repeat(scale, axis=1)
    return np.repeat(large[..., None], 3, axis=2)


class BarBackend:
    """A `CtcBackend` that reads what `draw_bars` drew, each column by itself."""

    def __init__(self, certainty: float = 0.9) -> None:
        self.certainty = certainty

    def __call__(self, lines: Sequence[NDArray[np.float32]]) -> list[LogProbs]:
        return [self._look(line) for line in lines]

    def _look(self, line: NDArray[np.float32]) -> LogProbs:
        heights = (line > 0.5).sum(axis=0).reshape(-1, _BAR_WIDTH).mean(axis=1)
        classes = np.round(heights / _BAR_STEP).astype(int)
        count = len(BAR_CHARSET) + 1
        probs = np.full((len(classes), count), (1 - self.certainty) / (count - 1), np.float32)
        np.put_along_axis(probs, classes[:, None], self.certainty, axis=1)
        return np.log(probs)


def bar_info(**changes: object) -> ModelInfo:
    """The model folder's facts that go with `BarBackend`."""
    values = {
        "family": "compact",
        "name": "bars",
        "charset": BAR_CHARSET,
        "ink": InkConfig(height=_BAR_HEIGHT),
    }
    return ModelInfo(**{**values, **changes})  # type: ignore[arg-type]


def write_bar_folder(folder: Path, weights: bytes = b"weights") -> Path:
    """Write a model folder, as far as anybody can tell without loading it."""
    write_info(bar_info(), folder)
    (folder / ONNX_NAME).write_bytes(weights)
    return folder


def line_image(text: str, height: int = 40) -> NDArray[np.uint8]:
    """Draw printed text as an RGB line image."""
    font = ImageFont.load_default(height * 0.6)
    image = Image.new("RGB", (int(font.getlength(text)) + height, height), "white")
    ImageDraw.Draw(image).text((height / 2, height * 0.1), text, "black", font)
    return np.array(image)


def png(image: NDArray[np.uint8]) -> bytes:
    """Encode an image."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_folder(folder: Path, texts: Sequence[str]) -> Path:
    """Write line images with a `.txt` file beside each."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, text in enumerate(texts):
        (folder / f"line-{i:02}.png").write_bytes(png(line_image(text or "blank")))
        (folder / f"line-{i:02}.txt").write_text(text + "\n", encoding="utf-8")
    return folder


def write_hub(folder: Path, splits: Mapping[str, Sequence[str | None]], text_column: str = "text") -> Path:
    """Write a data set as the hub stores it: parquet files with the images as structs of bytes."""
    import pyarrow
    import pyarrow.parquet

    (folder / "data").mkdir(parents=True, exist_ok=True)
    for split, texts in splits.items():
        images = [{"bytes": png(line_image(text or "blank")), "path": f"{i}.png"} for i, text in enumerate(texts)]
        table = pyarrow.table({"image": images, text_column: list(texts)})
        pyarrow.parquet.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def write_strokes(path: Path, texts: Sequence[str]) -> Path:
    """Write a file of pen strokes: a zigzag of one stroke for each character."""
    delta, starts, offsets = [], [], [0]
    for text in texts:
        for i, character in enumerate(text):
            heights = [0, ord(character) % 40 + 20, 30, 5]
            points = np.array([[30 * i + 6 * k, y] for k, y in enumerate(heights)])
            delta.append(points if i == 0 else np.diff(points, axis=0, prepend=[[30 * i - 12, 5]]))
            starts += [True, False, False, False]
        offsets.append(len(starts))
    steps = np.concatenate(delta).astype(np.int16)
    np.savez(
        path,
        delta=steps,
        stroke_start=np.array(starts),
        line_offset=np.array(offsets, np.int64),
        text=np.array(texts),
        id=np.array([f"line-{i}" for i in range(len(texts))]),
    )
    return path


def write_font(path: Path, characters: str, empty: str = "") -> Path:
    """Write a TrueType font of plain rectangles.

    Args:
        path: Its file.
        characters: Characters with a glyph; the space has no outline.
        empty: Of them, those whose glyph has no outline either.
    """
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    names = {ord(c): f"uni{ord(c):04X}" for c in characters}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    glyphs = {}
    for name, code in ((".notdef", 0), *((n, c) for c, n in names.items())):
        pen = TTGlyphPen(None)
        if code != 32 and chr(code) not in empty:
            corners = ((50, 0), (50, 300 + code % 400), (400, 700), (400, 0))
            pen.moveTo(corners[0])
            for corner in corners[1:]:
                pen.lineTo(corner)
            pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (450, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    path.parent.mkdir(parents=True, exist_ok=True)
    builder.save(path)
    return path


def bar_line(text: str, scale: int = 1) -> NDArray[np.uint8]:
    """Draw a line image in which `BarBackend` reads `text`."""
    return draw_bars({2 * i + 1: character for i, character in enumerate(text)}, 2 * len(text) + 2, scale)


def bar_recognizer(
    name: str = "builtin",
    *,
    threads: int = 0,
    generate: object = None,
    language: object = None,
    variants: int = 1,
    certainty: float = 0.9,
) -> LineRecognizer:
    """Stand in for `quillread.recognize.load.load`: a recogniser of what `bar_line` drew, whatever its name."""
    return LineRecognizer(CtcEngine(BarBackend(certainty), bar_info()), bar_info())


_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_SPECIAL_ROLES = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "mask_token": {"content": "<mask>", "lstrip": True, "normalized": True, "rstrip": False, "single_word": False},
}


def write_bpe_tokenizer(folder: Path) -> Path:
    """Write the files of a byte-level BPE as TrOCR base and large are published: the 256 bytes and a few merges."""
    from tokenizers.pre_tokenizers import ByteLevel

    merges = ["t h", "th e", "i n", "e r", "Ġ w", "Ġw o", "Ġwo r", "l d"]
    pieces = [*_SPECIAL, *sorted(ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in merges), "<mask>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    _write_tokenizer_settings(folder, "RobertaTokenizer")
    return folder


def write_sentencepiece_tokenizer(folder: Path) -> Path:
    """Write the files of a sentencepiece tokenizer as TrOCR small is published: letters, digits and a few words.

    Without the normaliser of the published one: characters stay as they are, or are unknown.
    """
    from transformers.convert_slow_tokenizer import import_protobuf

    model = import_protobuf().ModelProto()
    model.trainer_spec.model_type = 1  # unigram
    letters = "\u2581abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'-éèàç"
    words = ("\u2581the", "\u2581and", "\u2581line", "ing", "er")
    for kind, pieces, score in ((2, ["<unk>"], 0.0), (3, ["<s>", "</s>"], 0.0), (1, words, -3.0), (1, letters, -6.0)):
        for piece in pieces:
            model.pieces.add(piece=piece, score=score, type=kind)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sentencepiece.bpe.model").write_bytes(model.SerializeToString())
    _write_tokenizer_settings(folder, "XLMRobertaTokenizer")
    return folder


def _write_tokenizer_settings(folder: Path, class_name: str) -> None:
    mask = {**_SPECIAL_ROLES["mask_token"], "__type": "AddedToken"}  # type: ignore[dict-item]
    settings = {**_SPECIAL_ROLES, "mask_token": mask, "tokenizer_class": class_name}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(_SPECIAL_ROLES), encoding="utf-8")


TROCR_VARIANTS = ("small", "base-handwritten", "base-stage1", "large-handwritten", "large-printed")


def write_trocr(folder: Path, variant: str = "base-handwritten", *, pickled: bool = False) -> Path:
    """Write a tiny TrOCR checkpoint with random weights, in the form in which Microsoft's are published.

    That is: names of tensors and settings as transformers 4 wrote them, no pooler, no weights of tied layers but one, a
    constant beside sinusoidal positions, generation settings that say nothing of the length.

    Args:
        folder: Where.
        variant: One of `TROCR_VARIANTS`.
        pickled: Write `pytorch_model.bin` instead of safetensors.
    """
    import torch
    from safetensors.torch import save_file

    from quillread.text.tokenizer import load_tokenizer

    small, large = variant == "small", variant.startswith("large")
    folder.mkdir(parents=True, exist_ok=True)
    (write_sentencepiece_tokenizer if small else write_bpe_tokenizer)(folder)
    config = _trocr_config(variant, vocabulary=len(load_tokenizer(folder)) + (42 if small else 0))
    weights = _trocr_weights(config, seed=TROCR_VARIANTS.index(variant))
    if pickled:
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        if config["decoder"]["tie_word_embeddings"]:
            del weights["decoder.output_projection.weight"]
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    half = [0.5, 0.5, 0.5]
    processor = {"do_normalize": True, "do_resize": True, "image_mean": half, "image_std": half, "size": 64}
    if small:
        processor |= {"image_processor_type": "DeiTImageProcessor", "resample": 3}
        processor |= {"crop_size": 32, "do_center_crop": False}
    else:
        processor |= {"feature_extractor_type": "ViTFeatureExtractor", "resample": 2}
    generation = {"_from_model_config": True, "bos_token_id": 0, "decoder_start_token_id": 2, "eos_token_id": 2}
    generation |= {"pad_token_id": 1, "transformers_version": "4.27.0.dev0", "use_cache": large or not small}
    for name, values in (
        ("config.json", config),
        ("preprocessor_config.json", processor),
        ("generation_config.json", generation),
    ):
        (folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    return folder


def published_name(name: str) -> str:
    """Name in a published TrOCR file, as transformers 4 gave it, of a tensor of the network."""
    old_names = {
        "encoder.layers.": "encoder.encoder.layer.",
        "attention.q_proj": "attention.attention.query",
        "attention.k_proj": "attention.attention.key",
        "attention.v_proj": "attention.attention.value",
        "attention.o_proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    if name.startswith("encoder."):
        for new, old in old_names.items():
            name = name.replace(new, old)
    return name


def _trocr_config(variant: str, vocabulary: int) -> dict[str, Any]:
    """`config.json` with the fields that transformers 4 wrote, of which later versions know but some."""
    small, large = variant == "small", variant.startswith("large")
    sinusoidal = variant in ("base-stage1", "large-printed")
    legacy = {
        "_name_or_path": "",
        "architectures": None,
        "bad_words_ids": None,
        "chunk_size_feed_forward": 0,
        "diversity_penalty": 0.0,
        "do_sample": False,
        "early_stopping": False,
        "finetuning_task": None,
        "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
        "is_encoder_decoder": False,
        "label2id": {"LABEL_0": 0, "LABEL_1": 1},
        "length_penalty": 1.0,
        "max_length": 20,
        "min_length": 0,
        "no_repeat_ngram_size": 0,
        "num_beams": 1,
        "output_attentions": False,
        "pruned_heads": {},
        "return_dict": True,
        "temperature": 1.0,
        "tie_encoder_decoder": False,
        "top_k": 50,
        "torch_dtype": None,
        "torchscript": False,
        "transformers_version": "4.14.1" if small else "4.9.0.dev0",
        "use_bfloat16": False,
    }
    width = 24 if large else 16
    decoder = {
        "activation_dropout": 0.0,
        "activation_function": "relu" if small or sinusoidal else "gelu",
        "add_cross_attention": True,
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "classifier_dropout": 0.0,
        "cross_attention_hidden_size": width,
        "d_model": 8 if small else 32,
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 48,
        "decoder_layerdrop": 0.0,
        "decoder_layers": 2,
        "decoder_start_token_id": 2,
        "dropout": 0.1,
        "eos_token_id": 2,
        "init_std": 0.02,
        "is_decoder": True,
        "layernorm_embedding": not sinusoidal,
        "max_position_embeddings": 1024 if sinusoidal else 512,
        "model_type": "trocr",
        "pad_token_id": 1,
        "scale_embedding": small or sinusoidal,
        "tie_word_embeddings": not small and not sinusoidal,
        "use_cache": False,
        "use_learned_position_embeddings": not sinusoidal,
        "vocab_size": vocabulary,
    }
    encoder = {
        "attention_probs_dropout_prob": 0.0,
        "bos_token_id": None,
        "eos_token_id": None,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": width,
        "image_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 2 * width,
        "is_decoder": False,
        "layer_norm_eps": 1e-12,
        "model_type": "deit" if small else "vit",
        "num_attention_heads": 2,
        "num_channels": 3,
        "num_hidden_layers": 3 if large else 2,
        "pad_token_id": None,
        "patch_size": 16,
        "qkv_bias": small,
        "tie_word_embeddings": True,
    }
    return {
        "architectures": ["VisionEncoderDecoderModel"],
        "decoder": {**legacy, **decoder},
        "encoder": {**legacy, **encoder},
        "eos_token_id": 2,
        "is_encoder_decoder": True,
        "model_type": "vision-encoder-decoder",
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": None,
    }


def _trocr_weights(config: dict[str, Any], seed: int) -> dict[str, Any]:
    """Random weights by the names that transformers 4 gave them; tied ones share their memory."""
    import torch
    from transformers import VisionEncoderDecoderConfig, VisionEncoderDecoderModel

    network = VisionEncoderDecoderModel(VisionEncoderDecoderConfig(**copy.deepcopy(config)))
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data.normal_(0, 0.3, generator=generator)
    weights = {published_name(name): tensor for name, tensor in network.state_dict().items()}
    del weights["encoder.pooler.dense.weight"], weights["encoder.pooler.dense.bias"]
    if not config["decoder"]["use_learned_position_embeddings"]:
        weights["decoder.model.decoder.embed_positions._float_tensor"] = torch.zeros(1)
    return weights
