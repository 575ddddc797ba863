"""Another canvas for a trained TrOCR model: its learned positions are interpolated and stored."""

import logging
from typing import Any

import torch
from torch import Tensor, nn
from transformers.image_utils import SizeDict

from quillread.errors import ModelError
from quillread.models.trocr import Trocr

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
