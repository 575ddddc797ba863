"""Teach the encoder of a small TrOCR the columns of the built-in model, before its decoder learns to write.

    python benchmarks/recipe/columns.py --set root=DATA --views 24000 --minutes 40 --output DIR

A network of TrOCR's shape from random weights looks for the letters and for their order at once, which takes hundreds
of thousands of lines. Here its encoder first learns what the built-in model says of every four columns of pixels of the
same image (cross-entropy with its likeliest classes: they tell where each letter is), with a linear layer that is
thrown away. Lines are distorted and looked at by the built-in model once, in DIR.views, and learnt many times, moved by
some pixels. Then `quill train --config benchmarks/recipe/columns.yaml --set root=DATA --model DIR` goes on from DIR.
Settings of one's own have one row of patches as high as the canvas and clean lines as those do.
"""

import argparse
import itertools
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from quillread.models.catalog import describe
from quillread.models.compact.onnx_file import COLUMN_WIDTH
from quillread.models.model_folder import ONNX_NAME
from quillread.models.onnx import OnnxBackend
from quillread.text.charset import Charset
from quillread.train.config import TrainConfig, assemble, read_settings
from quillread.train.dataset import LineDataset, PlanSampler, make_loader
from quillread.train.lines import open_lines, open_sources
from quillread.train.trocr.family import TrocrFamily, look_up_pixels

CLASSES = 4
"""Likeliest classes of each column that are kept; what is left is of no use to anyone."""
BATCH = 32
MOST_UP, MOST_ALONG = 3, 6
"""Pixels, and patches, that a line is moved by."""


def main() -> None:
    """Make the views, train by the clock, write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", default=Path(__file__).with_suffix(".yaml"), help="default: %(default)s")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any setting")
    parser.add_argument("--views", type=int, required=True, help="distorted lines")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    config: TrainConfig = assemble(read_settings(args.settings), overrides=args.set)
    family = TrocrFamily(config)
    entry = describe("builtin")
    views = args.output.with_suffix(".views")
    if not (views / "done").exists():
        teacher = OnnxBackend(entry.folder / ONNX_NAME, 1)
        make_views(config, family, teacher, args.views, views)
    train(config, family, len(Charset(entry.info.charset)), views, args)
    family.save(args.output, family.info)


def make_views(config: TrainConfig, family: TrocrFamily, teacher: OnnxBackend, count: int, folder: Path) -> None:
    """Write the pixels of distorted lines, and the likeliest classes of their columns."""
    lines = open_lines(config, family.form, open_sources(config))
    sampler = PlanSampler(lines.plan)
    loader = make_loader(LineDataset(lines.sources, lines.usable, family.form), sampler, 0, pin=False)
    folder.mkdir(parents=True, exist_ok=True)
    canvas = config.trocr.canvas
    assert canvas is not None
    columns = canvas.width // COLUMN_WIDTH
    shape = {"pixels": (count, canvas.height, canvas.width), "classes": (count, columns, CLASSES)}
    kept = {
        "pixels": np.lib.format.open_memmap(folder / "pixels.npy", "w+", np.uint8, shape["pixels"]),
        "classes": np.lib.format.open_memmap(folder / "classes.npy", "w+", np.uint8, shape["classes"]),
        "shares": np.lib.format.open_memmap(folder / "shares.npy", "w+", np.float16, shape["classes"]),
    }
    done = 0
    for epoch in itertools.count():
        sampler.set_epoch(epoch)  # other lines, and other distortions
        for batch in loader:
            pixels = batch["pixel_values"][: count - done, 0].numpy()
            for view, log_probs in zip(pixels, teacher(list(1 - pixels / np.float32(255))), strict=True):
                best = np.argpartition(-log_probs, CLASSES, axis=1)[:, :CLASSES]
                shares = np.exp(np.take_along_axis(log_probs, best, 1))
                kept["pixels"][done], kept["classes"][done] = view, best
                kept["shares"][done] = shares / shares.sum(1, keepdims=True)
                done += 1
            if done >= count:
                (folder / "done").touch()
                return
            if done % 1600 == 0:
                print(f"{done} views", flush=True)


def train(config: TrainConfig, family: TrocrFamily, letters: int, folder: Path, args: argparse.Namespace) -> None:
    """Teach the encoder, the learning rate falling with the time."""
    pixels, classes, shares = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("pixels", "classes", "shares")
    )
    encoder, table = family.model.network.encoder, family.network.table
    assert table is not None
    each = config.trocr.shape.patch_width // COLUMN_WIDTH  # columns of the teacher in one of its own
    head = nn.Linear(config.trocr.shape.encoder_width, each * letters)
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=args.learning_rate, weight_decay=0.01, fused=True)
    rng, start, step, shown = np.random.default_rng(1), time.monotonic(), 0, []
    encoder.train()
    order: list[int] = []
    while (share := (time.monotonic() - start) / (60 * args.minutes)) < 1:
        rate = args.learning_rate * min(1.0, (step + 1) / 300) * 0.5 * (1 + math.cos(math.pi * share))
        for group in optimizer.param_groups:
            group["lr"] = rate
        if len(order) < BATCH:
            order = rng.permutation(len(pixels)).tolist()
        chosen, order = sorted(order[:BATCH]), order[BATCH:]
        looks, wanted, weight = move(pixels[chosen], classes[chosen], shares[chosen], each, rng)
        with torch.autocast("cpu", torch.bfloat16):
            encoded = encoder(look_up_pixels(table, looks)).last_hidden_state[:, 1:]
            given = head(encoded).view(BATCH, -1, letters).float().log_softmax(-1)
        losses = -(given.gather(-1, wanted) * weight).sum(-1)
        # Nearly all columns are blank: those with a letter have half of the weight.
        inked = 1 - (weight * (wanted == 0)).sum(-1)
        loss = (losses * inked).sum() / inked.sum() + losses.mean()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        shown.append(loss.item())
        if step % 100 == 0:
            right = agreement(given, wanted, weight)
            print(
                f"{time.monotonic() - start:6.0f} s, step {step}, {step * BATCH} lines, loss {np.mean(shown):.3f}, "
                f"letters as the teacher's {right:.3f}, rate {rate:.1e}",
                flush=True,
            )
            shown.clear()
            if step % 2000 == 0:
                family.save(args.output, family.info)


def move(
    pixels: np.ndarray, classes: np.ndarray, shares: np.ndarray, each: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Move lines up or down by pixels, to the left or right by patches, what is known of their columns with them."""
    looks = np.full_like(pixels, 255)
    wanted, weight = np.zeros(classes.shape, np.int64), np.zeros(shares.shape, np.float32)
    weight[..., 0] = 1
    height, width = pixels.shape[1:]
    for i in range(len(pixels)):
        up, along = int(rng.integers(-MOST_UP, MOST_UP + 1)), int(rng.integers(0, MOST_ALONG + 1))
        rows, x = (max(up, 0), min(height, height + up)), along * each * COLUMN_WIDTH
        looks[i, rows[0] : rows[1], x:] = pixels[i, rows[0] - up : rows[1] - up, : width - x]
        wanted[i, along * each :] = classes[i, : classes.shape[1] - along * each]
        weight[i, along * each :] = shares[i, : shares.shape[1] - along * each]
    return torch.from_numpy(looks)[:, None], torch.from_numpy(wanted), torch.from_numpy(weight)


def agreement(given: Tensor, wanted: Tensor, weight: Tensor) -> float:
    """Share of the columns with a letter, in either, in which both have the same."""
    ours, theirs = given.argmax(-1), wanted.gather(-1, weight.argmax(-1, keepdim=True))[..., 0]
    inked = (ours != 0) | (theirs != 0)
    return float(((ours == theirs) & inked).sum() / inked.sum().clamp(min=1))


if __name__ == "__main__":
    main()
