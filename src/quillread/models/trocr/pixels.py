"""What the encoder of TrOCR is given: positions for any canvas, and pixels."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers.image_utils import SizeDict

from quillread.errors import ModelError
from quillread.models.trocr.loading import Trocr
from quillread.types import UInt8Image

log = logging.getLogger(__name__)

SPECIAL_PLACES = {"vit": 1, "deit": 2}
"""Encoder -> positions before those of the patches: of the class token, and of DeiT's distillation token."""


def set_canvas(model: Trocr, height: int, width: int) -> None:
    """Change the size of the images that a model takes, in its weights, its configuration and its image processor.

    The positions are interpolated once and stored, as transformers would do at each call with
    `interpolate_pos_encoding=True`; so the saved folder needs no such flag. To be called before an optimizer is made:
    the positions become a new parameter.

    Args:
        model: With a ViT or DeiT encoder; changed in place.
        height: Pixels, a multiple of the patch height.
        width: Pixels, a multiple of the patch width.

    Raises:
        ModelError: If the size is not a multiple of the patch, or the encoder has other positions.
    """
    config = model.network.config.encoder
    if config.model_type not in SPECIAL_PLACES:
        raise ModelError(
            f"the canvas of a {config.model_type!r} encoder cannot be changed",
            hint=f"known: {', '.join(SPECIAL_PLACES)}",
        )
    old, patch = as_pair(config.image_size), as_pair(config.patch_size)
    if height < 1 or width < 1 or height % patch[0] or width % patch[1]:
        raise ModelError(
            f"a canvas of {height} x {width} pixels is not made of whole patches of {patch[0]} x {patch[1]}",
            hint="choose multiples of the patch",
        )
    if (height, width) == old:
        return
    before, after = (old[0] // patch[0], old[1] // patch[1]), (height // patch[0], width // patch[1])
    embeddings = model.network.encoder.embeddings
    positions = embeddings.position_embeddings
    values = _interpolate(positions.data, SPECIAL_PLACES[config.model_type], before, after)
    embeddings.position_embeddings = nn.Parameter(values, requires_grad=positions.requires_grad)
    embeddings.image_size = embeddings.patch_embeddings.image_size = (height, width)
    embeddings.patch_embeddings.num_patches = after[0] * after[1]
    config.image_size = height if height == width else [height, width]
    model.image_processor.size = SizeDict(height=height, width=width)
    if getattr(model.image_processor, "do_center_crop", False):
        model.image_processor.crop_size = SizeDict(height=height, width=width)
    log.info(
        "canvas %d x %d instead of %d x %d: positions interpolated from %d x %d patches to %d x %d",
        *(height, width, *old, *before, *after),
    )


def as_pair(size: Any) -> tuple[int, int]:
    """Height and width of a size that transformers gives as one number or as two."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _interpolate(positions: Tensor, special: int, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
    """Bicubic, as `ViTEmbeddings.interpolate_pos_encoding` does it, from a grid that need not be square."""
    grid = positions[:, special:].reshape(1, *before, -1).permute(0, 3, 1, 2)
    grid = nn.functional.interpolate(grid, size=after, mode="bicubic", align_corners=False)
    return torch.cat((positions[:, :special], grid.flatten(2).transpose(1, 2)), dim=1).contiguous()


_KINDS = ("ViTImageProcessorPil", "DeiTImageProcessorPil")


def line_pixels(processor: Any, images: Sequence[UInt8Image]) -> NDArray[np.float32]:
    """Resize, rescale and normalise images, bit for bit as the image processor does.

    Rescaling and normalising 256 values and looking them up takes a tenth of the time of doing it for every pixel.

    Args:
        processor: An image processor of transformers with the PIL backend.
        images: uint8 RGB (H, W, 3) each, at least one.

    Returns:
        float32 (N, 3, h, w).
    """
    if not only_resizes(processor):
        # A PIL image says by itself which of its axes are the colours.
        pictures = [Image.fromarray(image) for image in images]
        return np.asarray(processor(pictures, return_tensors="np")["pixel_values"], np.float32)
    tables = look_up_tables(processor)
    pixels = np.empty((len(images), 3, processor.size["height"], processor.size["width"]), np.float32)
    for image, into in zip(images, pixels, strict=True):
        resized = resize_line(processor, image)
        for channel, table in enumerate(tables):
            np.take(table, resized[channel], out=into[channel])
    return pixels


def resize_line(processor: Any, image: UInt8Image) -> UInt8Image:
    """Bring an image to the size of the processor, the first and only slow part of what it does.

    Args:
        processor: One that `only_resizes`.
        image: uint8 RGB (H, W, 3), or grey (H, W), which stands for three equal channels.

    Returns:
        uint8 (3, h, w), or (1, h, w) of a grey image; `look_up_tables` has what becomes of each value.
    """
    size = processor.size["width"], processor.size["height"]
    resized = np.asarray(Image.fromarray(image).resize(size, processor.resample))
    return np.ascontiguousarray(resized.transpose(2, 0, 1)) if resized.ndim == 3 else resized[None]


def only_resizes(processor: Any) -> bool:
    """Whether a processor is of a kind that treats every pixel of the resized image by itself."""
    return (
        type(processor).__name__ in _KINDS
        and bool(processor.do_resize and processor.size.get("height") and processor.size.get("width"))
        and not getattr(processor, "do_center_crop", False)
        and not getattr(processor, "do_pad", False)
    )


def look_up_tables(processor: Any) -> NDArray[np.float32]:
    """What becomes of each value, float32 (3, 256), reckoned as transformers does: rescaled in double precision."""
    values = np.tile(np.arange(256, dtype=np.uint8)[:, None], 3)
    table = values[None].transpose(2, 0, 1)
    if processor.do_rescale:
        table = processor.rescale(table, processor.rescale_factor)
    if processor.do_normalize:
        table = processor.normalize(table, processor.image_mean, processor.image_std)
    return np.asarray(table.reshape(3, 256), np.float32)
