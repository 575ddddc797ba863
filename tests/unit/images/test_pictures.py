import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from quillread.errors import ImageError
from quillread.images.document import ReadConfig
from quillread.images.pictures import read_size
from quillread.images.read import open_document

WIDE = np.tile(np.arange(0, 240, 4, np.uint8), (24, 1))
"""A page of 60 x 24 pixels that grows brighter to the right."""
UNDO = {
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def read_one(source: bytes | Path) -> np.ndarray:
    with open_document(source) as document:
        return document.page(0)


def saved(folder: Path, image: Image.Image, **options: object) -> Path:
    path = folder / "page.tif"
    image.save(path, **options)
    return path


# --- TIFFs stored on their side ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "I;16"])
def test_a_turned_tiff_is_read_upright_from_a_path(orientation, compression, mode, tmp_path):
    deep = Image.fromarray(WIDE.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(WIDE)
    stored = (deep if mode == "I;16" else deep.convert(mode)).transpose(UNDO[orientation])
    path = saved(tmp_path, stored, compression=compression, tiffinfo={274: orientation}, dpi=(300, 300))
    assert np.abs(read_one(path)[:, :, 0].astype(int) - WIDE).max() <= 1
    assert read_size(path) == (60, 24)
    with open_document(path) as document:
        assert document.paper_size(0) == pytest.approx((14.4, 5.76))


# --- deep greys -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_values_of_few_bits_in_16_are_scaled_by_those_bits(bits):
    values = np.array([[0, 2 ** (bits - 1), 2**bits - 1]], np.uint16)
    assert read_one(encode(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("white", [2**16, 70_000, 2**24 - 1, 2**30, 2**31 - 1])
def test_integers_of_more_than_16_bits_are_scaled_by_the_largest(white):
    values = np.array([[-5, 0, white // 2, white]], np.int32)
    assert read_one(encode(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == pytest.approx([0, 0, 128, 255], abs=1)


@pytest.mark.parametrize("white", [2**32 - 1, 65535])
def test_unsigned_integers_of_32_bits_are_not_taken_for_negative_ones(white):
    values = np.array([[0, white // 4, white // 2, white]], "<u4")
    page = read_one(tiff((4, 1), 32, 1, values.tobytes()))
    assert page[0, :, 0].tolist() == pytest.approx([0, 64, 128, 255], abs=1)


def test_colours_of_16_bits_in_planes_are_told_to_be_unsupported():
    planes = np.arange(3 * 8, dtype="<u2")
    data = tiff((4, 2), 16, 2, planes.tobytes(), planes=3)
    with pytest.raises(ImageError, match=r"kind that is not supported: 16-bit integer samples, RGB, .* in planes"):
        read_one(data)
    assert read_one(tiff((4, 2), 8, 2, bytes(24), planes=3)).shape == (2, 4, 3)


def tiff(size: tuple[int, int], bits: int, photometric: int, data: bytes, planes: int = 1) -> bytes:
    """A little-endian TIFF without compression; of several planes, one after the other."""
    share, short, long = len(data) // planes, 3, 4
    tags = [(256, long, [size[0]]), (257, long, [size[1]]), (258, short, [bits] * planes), (259, short, [1]),
            (262, short, [photometric]), (273, long, [300 + number * share for number in range(planes)]),
            (277, short, [planes]), (278, long, [size[1]]), (279, long, [share] * planes),
            (284, short, [2 if planes > 1 else 1])]  # fmt: skip
    entries, more, at = b"", b"", 8 + 2 + 12 * len(tags) + 4
    for tag, kind, values in tags:
        packed = struct.pack(f"<{len(values)}{'H' if kind == short else 'I'}", *values)
        place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", at + len(more))
        more += packed if len(packed) > 4 else b""
        entries += struct.pack("<HHI", tag, kind, len(values)) + place
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + more
    return head.ljust(300, b"\0") + data


@pytest.mark.parametrize(("dtype", "white"), [(np.uint16, 65535), (np.uint16, 255), (np.float32, 1.0)])
def test_a_deep_tiff_in_which_0_is_white_is_inverted(dtype, white):
    values = np.array([[0, white // 2 if white > 1 else 0.5, white]], dtype)
    page = read_one(encode(Image.fromarray(values), "TIFF", tiffinfo={262: 0}))
    assert page[0, 0, 0] == 255
    assert page[0, 2, 0] == 0
    assert abs(int(page[0, 1, 0]) - 128) <= 1


def test_a_large_page_is_converted_as_a_small_one(monkeypatch):
    image = Image.new("RGBA", (50, 40))
    image.putdata([(x, y, x + y, 255 - x) for y in range(40) for x in range(50)])
    whole = read_one(encode(image, "PNG"))
    monkeypatch.setattr("quillread.images.pictures._BAND_PIXELS", 100)
    assert (read_one(encode(image, "PNG")) == whole).all()


# --- frames that are no pages, kinds that are not read ----------------------------------------------------------------


@pytest.mark.parametrize("tag", [{255: 2}, {254: 1}, {254: 4}])
def test_copies_and_masks_in_a_tiff_are_no_pages(tag):
    other = Image.new("L", (6, 4))
    other.encoderinfo = {"tiffinfo": tag}
    data = encode(Image.fromarray(WIDE), "TIFF", save_all=True, append_images=[other, Image.fromarray(WIDE)])
    with open_document(data) as document:
        assert [document.page(index).shape for index in range(len(document))] == [(24, 60, 3)] * 2


def test_a_tiff_of_a_reduced_copy_alone_has_a_page():
    assert read_one(encode(Image.fromarray(WIDE), "TIFF", tiffinfo={254: 1})).shape == (24, 60, 3)


def tiff_with(tag: int, value: int) -> bytes:
    """A grey TIFF of one frame, in which the value of a tag is changed."""
    data = bytearray(encode(Image.fromarray(WIDE), "TIFF", tiffinfo={339: 1}))
    start = struct.unpack_from("<I", data, 4)[0]
    entries = range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12)
    entry = next(at for at in entries if struct.unpack_from("<H", data, at)[0] == tag)
    struct.pack_into("<H", data, entry + 8, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("tag", "value", "words"),
    [(258, 64, "64-bit integer"), (339, 3, "8-bit float"), (259, 34712, "compression 34712"), (262, 32803, "raw")],
)
def test_a_tiff_of_a_kind_that_is_not_supported_is_told_as_such(tag, value, words):
    with pytest.raises(ImageError, match=rf"scan: is a TIFF of a kind that is not supported: .*{words}"):
        open_document(tiff_with(tag, value), name="scan").page(0)


# --- PNG and JPEG that decoders are strict about ----------------------------------------------------------------------


def png_with(kind: bytes, body: bytes, *, after_pixels: bool) -> bytes:
    data = encode(Image.fromarray(WIDE), "PNG", dpi=(300, 300))
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    at = data.index(b"IEND") - 4 if after_pixels else data.index(b"IDAT") - 4
    return data[:at] + chunk + data[at:]


@pytest.mark.parametrize("after_pixels", [False, True])
@pytest.mark.parametrize(
    ("kind", "head"),
    [(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"), (b"zTXt", b"Comment\0\0"), (b"iCCP", b"profile\0\0")],
)
def test_a_png_with_metadata_of_many_megabytes_is_read(kind, head, after_pixels, tmp_path):
    path = tmp_path / "page.png"
    large = zlib.compress(b"x" * (3 * PngImagePlugin.MAX_TEXT_CHUNK))
    path.write_bytes(png_with(kind, head + large, after_pixels=after_pixels))
    with open_document(path) as document:
        assert (document.page(0)[:, :, 0] == WIDE).all()
        assert document.paper_size(0) == pytest.approx((14.4, 5.76), rel=1e-3)
    assert read_size(path) == (60, 24)


def noise(progressive: bool) -> bytes:
    pixels = np.random.default_rng(3).integers(0, 255, (90, 120, 3), np.uint8)
    return encode(Image.fromarray(pixels), "JPEG", progressive=progressive)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("ending", [b"", b"\xff", b"\0" * 9])
def test_a_jpeg_without_its_end_mark_is_read(progressive, ending):
    whole = noise(progressive)
    with open_document(whole[:-2] + ending) as document:
        assert (document.page(0) == read_one(whole)).all()
        assert (read_one(document.jpeg(0)) == read_one(whole)).all()
        assert document.jpeg(0).endswith(b"\xff\xd9")


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lost", [60, 2000])
def test_a_jpeg_that_lacks_pixels_is_refused(progressive, lost):
    with pytest.raises(ImageError, match="truncated"):
        read_one(noise(progressive)[:-lost])


# --- sizes that are refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [{"max_pixels": 999}, {"max_memory": 200_000_000}])
def test_a_png_that_is_too_large_is_refused_before_it_is_decoded(limits, monkeypatch):
    # Without EXIF data before its pixels, for which Pillow decodes all of it.
    size = (10, 100) if "max_pixels" in limits else (9000, 7000)
    png = encode(Image.new("RGB", size), "PNG", dpi=(300, 300), compress_level=1)

    def load(image: Image.Image) -> None:
        raise AssertionError("the picture is decoded")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    with open_document(png, ReadConfig(**limits)) as document:
        with pytest.raises(ImageError, match="more than the limit"):
            document.page(0)
        assert document.paper_size(0) is None


def test_a_png_whose_exif_data_come_last_is_turned():
    png = encode(Image.fromarray(WIDE), "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    content = exif.tobytes()[6:]
    chunk = struct.pack(">I", len(content)) + b"eXIf" + content + struct.pack(">I", zlib.crc32(b"eXIf" + content))
    assert read_one(png[:-12] + chunk + png[-12:]).shape == (60, 24, 3)
