import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quillread.errors import ConfigError, ImageError
from quillread.images.read import Document, ReadConfig, is_readable_name, open_document

DATA = Path(__file__).parents[2] / "data"
RED, GREEN, BLUE, WHITE = (220, 0, 0), (0, 200, 0), (0, 0, 220), (255, 255, 255)


def quadrants() -> Image.Image:
    image = Image.new("RGB", (48, 32), WHITE)
    image.paste(RED, (0, 0, 24, 16))
    image.paste(GREEN, (24, 0, 48, 16))
    image.paste(BLUE, (0, 16, 24, 32))
    return image


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def pages_tiff(count: int, **options: object) -> bytes:
    rng = np.random.default_rng(5)
    pages = [Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)) for _ in range(count)]
    return encode(pages[0], "TIFF", save_all=True, append_images=pages[1:], **options)


def tiff_directories(data: bytes) -> list[int]:
    """Offsets of the directories of a little-endian TIFF."""
    offsets = [struct.unpack_from("<I", data, 4)[0]]
    while offsets[-1]:
        entries = struct.unpack_from("<H", data, offsets[-1])[0]
        offsets.append(struct.unpack_from("<I", data, offsets[-1] + 2 + 12 * entries)[0])
    return offsets[:-1]


def read_one(data: bytes | Path) -> np.ndarray:
    with open_document(data) as document:
        assert len(document) == 1
        return document.page(0)


def assert_quadrants(page: np.ndarray, tolerance: int = 0) -> None:
    assert page.shape == (32, 48, 3)
    assert page.dtype == np.uint8
    for y, x, colour in ((5, 8, RED), (5, 40, GREEN), (26, 8, BLUE), (26, 40, WHITE)):
        assert np.abs(page[y, x].astype(int) - colour).max() <= tolerance, (y, x, page[y, x])


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF"])
def test_lossless_formats_are_read_exactly(file_format):
    assert_quadrants(read_one(encode(quadrants(), file_format)))


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "JPEG2000"])
def test_lossy_formats_are_read(file_format):
    assert_quadrants(read_one(encode(quadrants(), file_format)), tolerance=12)


def test_turned_heic_is_read_upright():
    assert_quadrants(read_one(DATA / "turned.heic"), tolerance=12)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation, file_format):
    turn = Image.Transpose
    undo = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_90,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = quadrants() if orientation == 1 else quadrants().transpose(undo[orientation])
    assert_quadrants(read_one(encode(stored, file_format, exif=exif)))


def test_corrupt_exif_neither_warns_nor_fails():
    exif = Image.Exif()
    exif[0x010E] = "a description that is cut off"
    data = encode(quadrants(), "JPEG", exif=exif)
    at = data.index(b"Exif\0\0") + 6
    broken = data[: at + 10] + b"\xff" * 8 + data[at + 18 :]
    assert_quadrants(read_one(broken), tolerance=12)


def test_16_bit_grey_is_scaled_by_its_range():
    grey = np.array([[0, 256, 32768, 65535]], np.uint16)
    page = read_one(encode(Image.fromarray(grey), "PNG"))
    assert page[0, :, 0].tolist() == [0, 1, 128, 255]


def test_32_bit_integers_that_fit_16_bits_are_scaled_as_such():
    grey = Image.fromarray(np.array([[0, 32768, 65535]], np.int32))
    assert read_one(encode(grey, "TIFF"))[0, :, 0].tolist() == [0, 128, 255]


def test_32_bit_integers_are_scaled_by_their_range():
    grey = Image.fromarray(np.array([[0, 2**30, 2**31 - 1]], np.int32))
    assert read_one(encode(grey, "TIFF"))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_float_grey_is_scaled_to_the_range_that_holds_it(white):
    grey = Image.fromarray(np.array([[0, 0.5 * white, white, np.nan]], np.float32))
    assert read_one(encode(grey, "TIFF"))[0, :, 0].tolist() == [0, 128, 255, 0]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_shows_white(mode):
    image = Image.new(mode, (4, 4), "black")
    image.putalpha(0)
    assert (read_one(encode(image, "PNG")) == 255).all()


def test_half_transparent_black_is_grey():
    page = read_one(encode(Image.new("RGBA", (1, 1), (0, 0, 0, 128)), "PNG"))
    assert abs(int(page[0, 0, 0]) - 127) <= 1


def test_transparent_palette_colour_shows_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putpixel((1, 0), 1)
    page = read_one(encode(image, "PNG", transparency=0))
    assert page[0].tolist() == [[255, 255, 255], [200, 0, 0]]


def test_one_bit_page_is_black_and_white():
    image = Image.new("1", (9, 2), 1)
    image.putpixel((3, 1), 0)
    page = read_one(encode(image, "TIFF", compression="group4"))
    assert page[1, 3].tolist() == [0, 0, 0]
    assert page.sum() == 17 * 3 * 255


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "YCbCr"])
def test_colour_modes_become_rgb(mode):
    page = read_one(encode(Image.new("RGB", (16, 16), (102, 102, 102)).convert(mode), "TIFF"))
    assert np.abs(page.astype(int) - 102).max() <= 3


def test_adobe_cmyk_jpeg_is_not_inverted():
    # Pillow writes CMYK the way Adobe does: inverted, with an APP14 marker.
    data = encode(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG")
    assert b"Adobe" in data
    assert (read_one(data) > 250).all()


def test_one_pixel_is_a_page():
    assert read_one(encode(Image.new("RGB", (1, 1), RED), "PNG"))[0, 0].tolist() == list(RED)


def test_page_may_be_written_to():
    assert read_one(encode(quadrants(), "PNG")).flags.writeable


def test_content_decides_not_the_suffix(tmp_path):
    path = tmp_path / "scan.jpg"
    path.write_bytes(encode(quadrants(), "PNG"))
    assert_quadrants(read_one(path))


def test_animation_gives_its_first_frame():
    other = Image.new("RGB", (48, 32), "black")
    assert_quadrants(read_one(encode(quadrants(), "GIF", save_all=True, append_images=[other])))


def test_multi_page_tiff_gives_its_pages_in_any_order():
    shades = [Image.new("L", (4, 4), shade) for shade in (10, 20, 30)]
    data = encode(shades[0], "TIFF", save_all=True, append_images=shades[1:])
    with open_document(data) as document:
        assert [int(document.page(i)[0, 0, 0]) for i in (2, 0, 1)] == [30, 10, 20]


def test_reduced_copy_in_a_tiff_is_no_page():
    small = Image.new("RGB", (24, 16), "black")
    small.encoderinfo = {"tiffinfo": {254: 1}}
    assert_quadrants(read_one(encode(quadrants(), "TIFF", save_all=True, append_images=[small])))


def test_truncated_tiff_still_gives_its_good_pages():
    data = pages_tiff(3)
    cut = data[: tiff_directories(data)[2] - 50]  # the third page has no directory, the second lacks pixels at most
    with open_document(cut, name="book.tif") as document:
        assert len(document) == 3
        assert document.page(0).shape == (20, 30, 3)
        with pytest.raises(ImageError, match=r"book\.tif, page 3: cannot be decoded"):
            document.page(2)


def test_damaged_tiff_page_leaves_the_others_readable():
    data = bytearray(pages_tiff(3, compression="tiff_adobe_deflate"))
    second = tiff_directories(bytes(data))[1]
    entries = struct.unpack_from("<H", data, second)[0]
    tags = {struct.unpack_from("<H", data, second + 2 + 12 * i)[0]: second + 2 + 12 * i for i in range(entries)}
    strip = struct.unpack_from("<I", data, tags[273] + 8)[0]
    data[strip : strip + 40] = b"\0" * 40
    with open_document(bytes(data), name="book.tif") as document:
        assert document.page(0).shape == document.page(2).shape == (20, 30, 3)
        with pytest.raises(ImageError, match=r"book\.tif, page 2"):
            document.page(1)


def test_truncated_jpeg_says_what_to_do(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8))
    path = tmp_path / "cut.jpg"
    path.write_bytes(encode(noise, "JPEG")[:2000])
    with open_document(path) as document, pytest.raises(ImageError, match=r"cut\.jpg: .*truncated") as caught:
        document.page(0)
    assert "damaged" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b"], ids=["too long", "no name"])
def test_a_name_that_no_file_can_have_is_refused(name: str):
    with pytest.raises(ImageError):
        open_document(Path(name))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.jpg: no such file"):
        open_document(tmp_path / "gone.jpg")


def test_folder_is_refused(tmp_path):
    with pytest.raises(ImageError, match="is a folder"):
        open_document(tmp_path)


def test_empty_file_is_refused(tmp_path):
    path = tmp_path / "empty.png"
    path.touch()
    with pytest.raises(ImageError, match=r"empty\.png: is empty"):
        open_document(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "page.jpg")
    with pytest.raises(ImageError, match=r"page\.jpg: is not a regular file"):
        open_document(tmp_path / "page.jpg")


def test_text_named_jpg_is_refused(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("Dear diary, this is not a picture.\n" * 20, encoding="utf-8")
    with pytest.raises(ImageError, match=r"notes\.jpg: is not an image or PDF"):
        open_document(path)


def test_unsupported_image_type_is_refused():
    with pytest.raises(ImageError, match="is not an image or PDF"):
        open_document(encode(quadrants(), "PPM"))


def test_name_given_by_the_caller_is_used_in_errors():
    with pytest.raises(ImageError, match="upload 7: is empty"):
        open_document(b"", name="upload 7")


def lying_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def test_gigantic_image_is_refused_before_decoding():
    with (
        open_document(lying_png(30_000, 30_000)) as document,
        pytest.raises(ImageError, match=r"30000 x 30000 pixels .* 200,000,000") as caught,
    ):
        document.page(0)
    assert "read.max_pixels" in (caught.value.hint or "")


def test_pixel_limit_is_ours_and_not_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert_quadrants(read_one(encode(quadrants(), "TIFF")))
    assert Image.MAX_IMAGE_PIXELS == 10


def test_pixel_limit_can_be_lowered():
    with (
        open_document(encode(quadrants(), "PNG"), ReadConfig(max_pixels=48 * 32 - 1)) as document,
        pytest.raises(ImageError, match="48 x 32"),
    ):
        document.page(0)


def test_threads_leave_pillow_and_warnings_as_they_were():
    data = encode(quadrants(), "PNG")
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    with open_document(data) as document:
        threads = [threading.Thread(target=document.page, args=(0,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert limit == Image.MAX_IMAGE_PIXELS
    assert filters == warnings.filters


def test_page_beyond_the_end_is_an_index_error():
    with open_document(encode(quadrants(), "PNG")) as document, pytest.raises(IndexError):
        document.page(1)


@pytest.fixture
def vector_pdf() -> bytes:
    """Two pages of 72 x 36 points: a black left half, and an empty page."""
    return make_pdf("[3 0 R 4 0 R]", 2, stream="0 g 0 0 36 36 re f")


def make_pdf(kids: str, count: int, stream: str = "", box: str = "0 0 72 36") -> bytes:
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids {kids} /Count {count} >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}] /Contents 5 0 R >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}] >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
    ]
    body, offsets = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    start = len(body)
    body += f"xref\n0 6\n0000000000 65535 f \n{table}trailer\n<< /Size 6 /Root 1 0 R >>\n"
    body += f"startxref\n{start}\n%%EOF\n"
    return body.encode()


def test_pdf_pages_are_rendered_at_the_resolution_asked_for(vector_pdf):
    with open_document(vector_pdf, ReadConfig(pdf_dpi=144)) as document:
        assert len(document) == 2
        page = document.page(0)
        assert page.shape == (72, 144, 3)
        assert page[36, 30].tolist() == [0, 0, 0]
        assert page[36, 110].tolist() == [255, 255, 255]
        assert (document.page(1) == 255).all()


def test_pdf_colours_are_not_swapped():
    with open_document(make_pdf("[3 0 R]", 1, stream="1 0 0 rg 0 0 72 36 re f")) as document:
        assert document.page(0)[10, 10].tolist() == [255, 0, 0]


def test_scan_in_a_pdf_is_not_enlarged():
    with open_document(encode(quadrants(), "PDF", resolution=72, quality=95)) as document:
        assert_quadrants(document.page(0), tolerance=16)


def test_pdf_is_read_from_a_path_with_any_suffix(tmp_path, vector_pdf):
    path = tmp_path / "letter.png"
    path.write_bytes(vector_pdf)
    with open_document(path) as document:
        assert len(document) == 2


def test_bytes_before_the_pdf_header_are_tolerated(vector_pdf):
    with open_document(b"\n\n" + vector_pdf) as document:
        assert len(document) == 2


def test_pdf_page_over_the_limit_names_a_resolution_that_fits(vector_pdf):
    with (
        open_document(vector_pdf, ReadConfig(max_pixels=20_000)) as document,
        pytest.raises(ImageError, match="at 300 dpi") as caught,
    ):
        document.page(0)
    assert "read.pdf_dpi to 200" in (caught.value.hint or "")


def test_encrypted_pdf_is_refused():
    with pytest.raises(ImageError, match=r"encrypted\.pdf: is encrypted"):
        open_document(DATA / "encrypted.pdf")


def test_broken_pdf_is_refused(vector_pdf):
    with pytest.raises(ImageError, match="is a broken PDF"):
        open_document(b"%PDF-1.4\n" + b"nothing of the kind\n" * 9)


def test_pdf_without_pages_is_refused():
    with pytest.raises(ImageError, match="PDF without pages"):
        open_document(make_pdf("[]", 0))


def test_broken_pdf_page_leaves_the_others_readable():
    with open_document(make_pdf("[3 0 R 99 0 R 4 0 R]", 3), name="book.pdf") as document:
        assert document.page(0).shape == document.page(2).shape == (150, 300, 3)
        with pytest.raises(ImageError, match=r"book\.pdf, page 2"):
            document.page(1)


@pytest.mark.parametrize("setting", [{"pdf_dpi": 0}, {"pdf_dpi": 9999}, {"max_pixels": 0}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ConfigError):
        ReadConfig(**setting)


@pytest.mark.parametrize(
    ("name", "readable"),
    [("a.JPG", True), ("a.pdf", True), ("a.heic", True), ("a.txt", False), ("a", False), ("._a.jpg", False)],
)
def test_names_of_readable_files(name, readable):
    assert is_readable_name(Path("folder") / name) is readable


# --- size on paper, and files as they are -----------------------------------------------------------------------------


def saved(tmp_path: Path, name: str, mode: str = "RGB", **options: object) -> Document:
    path = tmp_path / name
    Image.new(mode, (300, 600), "white").save(path, **options)
    return open_document(path)


@pytest.mark.parametrize(
    ("dpi", "points"),
    [((300, 300), (72, 144)), ((150, 300), (144, 144)), ((72, 72), None), ((96, 96), None), ((9999, 9999), None)],
)
def test_a_scan_tells_its_size_on_paper_and_a_photograph_does_not(dpi, points, tmp_path: Path):
    assert saved(tmp_path, "a.jpg", dpi=dpi).paper_size(0) == (points and pytest.approx(points))


def test_the_size_on_paper_is_turned_with_the_image(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    document = saved(tmp_path, "a.jpg", dpi=(300, 300), exif=exif)
    assert document.page(0).shape == (300, 600, 3)
    assert document.paper_size(0) == pytest.approx((144, 72))
    assert document.jpeg(0) is None


def test_an_image_without_a_resolution_has_no_size_on_paper(tmp_path: Path):
    assert saved(tmp_path, "a.png").paper_size(0) is None


def test_a_jpeg_is_given_as_it_is(tmp_path: Path):
    assert saved(tmp_path, "a.jpg").jpeg(0) == (tmp_path / "a.jpg").read_bytes()
    assert saved(tmp_path, "grey.jpg", "L").jpeg(0) is not None


@pytest.mark.parametrize(("name", "mode"), [("a.jpg", "CMYK"), ("a.png", "RGB"), ("a.pdf", "RGB")])
def test_other_files_are_not(name: str, mode: str, tmp_path: Path):
    assert saved(tmp_path, name, mode).jpeg(0) is None


def test_a_pdf_tells_the_size_of_its_pages(tmp_path: Path):
    assert saved(tmp_path, "a.pdf", resolution=100).paper_size(0) == pytest.approx((216, 432))


def test_a_broken_file_has_no_size_and_no_content(tmp_path: Path):
    document = saved(tmp_path, "a.jpg", dpi=(300, 300))
    (tmp_path / "a.jpg").write_bytes(b"")
    assert (document.paper_size(0), document.jpeg(0)) == (None, None)


def test_a_pdf_is_opened_anew_between_its_pages_and_shows_them_all(tmp_path: Path):
    shades = [Image.new("L", (30, 40), 5 * number) for number in range(40)]
    shades[0].save(tmp_path / "a.pdf", save_all=True, append_images=shades[1:])
    with open_document(tmp_path / "a.pdf") as document:
        found = [int(document.page(index)[20, 15, 0]) for index in (*range(40), 3)]
    assert found == pytest.approx([*(5 * number for number in range(40)), 15], abs=2)


@pytest.mark.skipif(os.name != "posix", reason="other systems keep a file that is open")
def test_a_pdf_that_is_moved_while_it_is_read_is_read_to_its_end(tmp_path: Path):
    shades = [Image.new("L", (30, 40), 5 * number) for number in range(40)]
    shades[0].save(tmp_path / "a.pdf", save_all=True, append_images=shades[1:])
    with open_document(tmp_path / "a.pdf") as document:
        (tmp_path / "a.pdf").unlink()
        found = [int(document.page(index)[20, 15, 0]) for index in range(40)]
    assert found == pytest.approx([5 * number for number in range(40)], abs=2)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of the process from /proc")
def test_the_memory_of_the_decoder_does_not_grow_with_the_pages_of_a_pdf(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (700, 500, 3), np.uint8)
    pages = [Image.fromarray(np.roll(noise, number, axis=0)) for number in range(96)]
    pages[0].save(tmp_path / "a.pdf", save_all=True, append_images=pages[1:], quality=95)
    size = (tmp_path / "a.pdf").stat().st_size
    assert size > 25e6  # what PDFium would keep
    del pages

    def resident(process: int) -> int:
        return int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with open_document(tmp_path / "a.pdf") as document:
        for index in range(32):
            document.page(index)
        decoder = document._pages._worker.pid
        before = resident(decoder)
        for index in range(32, 96):
            document.page(index)
        assert resident(decoder) - before < size / 4
