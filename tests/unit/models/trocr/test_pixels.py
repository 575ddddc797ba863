from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import CLIPImageProcessorPil, DeiTImageProcessorPil, ViTImageProcessorPil

from quillread.models.trocr.pixels import line_pixels

RNG = np.random.default_rng(0)
SHAPES = [(64, 900, 3), (1, 1, 3), (48, 48, 3), (500, 40, 3)]
IMAGES = [RNG.integers(0, 256, shape, np.uint8) for shape in SHAPES]
HALF, OTHER = [0.5, 0.5, 0.5], [0.485, 0.456, 0.406]


@pytest.mark.parametrize(
    "processor",
    [
        ViTImageProcessorPil(size={"height": 384, "width": 384}, image_mean=HALF, image_std=HALF),
        ViTImageProcessorPil(size={"height": 32, "width": 256}, image_mean=OTHER, image_std=[0.229, 0.224, 0.225]),
        ViTImageProcessorPil(size={"height": 224, "width": 224}, do_normalize=False),
        ViTImageProcessorPil(size={"height": 64, "width": 64}, do_rescale=False, image_mean=HALF, image_std=HALF),
        DeiTImageProcessorPil(size={"height": 384, "width": 384}, resample=3, do_center_crop=False),
        DeiTImageProcessorPil(size={"height": 256, "width": 256}, crop_size={"height": 224, "width": 224}),
        CLIPImageProcessorPil(),
    ],
    ids=["base", "wide", "not normalised", "not rescaled", "small", "cropped", "another kind"],
)
def test_pixels_are_those_of_the_image_processor(processor: Any):
    for image in IMAGES:
        expected = processor([Image.fromarray(image)], return_tensors="np")["pixel_values"]
        pixels = line_pixels(processor, [image])
        assert pixels.dtype == np.float32
        assert np.array_equal(pixels, expected.astype(np.float32))


def test_several_images_make_a_batch():
    processor = ViTImageProcessorPil(size={"height": 32, "width": 64})
    pixels = line_pixels(processor, IMAGES)
    assert pixels.shape == (len(IMAGES), 3, 32, 64)
    assert all(
        np.array_equal(row, line_pixels(processor, [image])[0]) for row, image in zip(pixels, IMAGES, strict=True)
    )
