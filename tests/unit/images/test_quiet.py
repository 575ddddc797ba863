import io

import numpy as np
import pytest
from PIL import Image

from quillread.errors import ImageError
from quillread.images.read import open_document


def test_the_library_for_tiffs_says_nothing_about_a_damaged_file(capfd: pytest.CaptureFixture[str]):
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 2, (400, 400)).astype(bool)
    Image.fromarray(noise).save(file, "TIFF", compression="tiff_adobe_deflate")
    content = bytearray(file.getvalue())
    content[500:900] = bytes(400)
    with open_document(bytes(content), name="a.tif") as document, pytest.raises(ImageError, match=r"a\.tif"):
        document.page(0)
    assert capfd.readouterr() == ("", "")
