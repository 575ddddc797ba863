import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quillread.errors import ImageError
from quillread.images.document import ReadConfig
from quillread.images.pdf_units import user_units
from quillread.images.read import open_document

FONT = "<< /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> /XObject << /I 5 0 R >> >>"
WORD = "BT /F 20 Tf 5 10 Td (word) Tj ET"
PICTURE = "q 72 0 0 36 0 0 cm /I Do Q"


def pdf(page: str = "/MediaBox [0 0 72 36]", content: str = WORD, *more: str | bytes, catalog: str = "") -> bytes:
    """A PDF of one page; its objects: 1 catalogue, 2 pages, 3 page, 4 content, 5 a picture of 18 x 9, then `more`."""
    picture = stream("/Type /XObject /Subtype /Image /Width 18 /Height 9 /BitsPerComponent 8 /ColorSpace /DeviceGray",
                     bytes(200 for _ in range(162)))  # fmt: skip
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R {catalog} >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources {FONT} {page} >>", stream("", content.encode()),
        picture, *more,
    ]  # fmt: skip
    body, offsets = b"%PDF-1.7\n", []
    for number, part in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, part if isinstance(part, bytes) else part.encode())
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size 9 /Root 1 0 R >>\n"
    return body + f"{trailer}startxref\n{len(body)}\n%%EOF\n".encode()


def stream(entries: str, content: bytes) -> bytes:
    return f"<< {entries} /Length {len(content)} >>\nstream\n".encode() + content + b"\nendstream"


def read_one(data: bytes, **config: int) -> np.ndarray:
    with open_document(data, ReadConfig(**config)) as document:
        return document.page(0)


# --- boxes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("box", ["72 36 0 0", "0 36 72 0", "72 0 0 36"])
def test_the_corners_of_a_page_come_in_any_order(box):
    assert (read_one(pdf(f"/MediaBox [{box}]")) == read_one(pdf())).all()


def test_a_page_whose_part_to_show_lies_outside_is_shown_whole():
    page = pdf("/MediaBox [0 0 72 36] /CropBox [100 100 200 200]")
    assert (read_one(page) == read_one(pdf())).all()
    with open_document(page) as document:
        assert document.paper_size(0) == (72, 36)


def test_a_page_without_area_is_refused_unless_a_part_of_it_is_named():
    with pytest.raises(ImageError, match="has no area, its box is 0 36 72 36"):
        read_one(pdf("/MediaBox [0 36 72 36]"))
    assert (read_one(pdf("/MediaBox [0 0 0 0] /CropBox [0 0 72 36]")) == read_one(pdf())).all()


# --- units ------------------------------------------------------------------------------------------------------------


def test_a_page_in_larger_units_is_as_large_as_on_paper(tmp_path: Path):
    path = tmp_path / "plan.pdf"
    path.write_bytes(pdf("/MediaBox [0 0 72 36] /UserUnit 2.5"))
    with open_document(path) as document:
        assert document.paper_size(0) == (180, 90)
        assert document.page(0).shape == (375, 750, 3)


def test_units_are_found_in_object_streams_and_for_each_page():
    bodies = ["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R 9 0 R 4 0 R] /Count 3 >>",
              "<< /Type /Page /UserUnit 2 >>", "<< /Type /Page >>"]  # fmt: skip
    places = [sum(map(len, bodies[:number])) for number in range(4)]
    head = " ".join(f"{number} {place}" for number, place in enumerate(places, 1)).encode() + b" "
    packed = zlib.compress(head + "".join(bodies).encode())
    content = b"%PDF-1.5\n7 0 obj\n" + stream(f"/Type /ObjStm /N 4 /First {len(head)} /Filter /FlateDecode", packed)
    assert user_units(content + b"\nendobj\n", 3) == [2, 1, 1]


def test_units_of_pages_that_cannot_be_followed_are_points():
    assert user_units(pdf("/UserUnit 2").replace(b"/Kids [3 0 R]", b"/Kids [2 0 R]"), 1) == [1]
    assert user_units(b"%PDF-1.4 1 0 obj << /UserUnit 2 >>", 2) == [1, 1]


# --- scans and what lies on them --------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [f"{PICTURE} {WORD}", f"{PICTURE} 0 g 5 5 9 2 re f"])
def test_what_is_drawn_on_a_coarse_picture_is_rendered_sharply(content):
    assert read_one(pdf(content=content)).shape == (150, 300, 3)


@pytest.mark.parametrize("content", [PICTURE, f"{PICTURE} 3 Tr {WORD}", f"{WORD} {PICTURE}"])
def test_a_scan_with_a_text_layer_that_is_not_seen_is_not_enlarged(content):
    assert read_one(pdf(content=content)).shape[:2] == (9, 18)


@pytest.mark.parametrize(("kind", "is_drawn"), [("Ink", True), ("Link", False)])
def test_a_scan_that_was_drawn_on_is_rendered_sharply(kind, is_drawn):
    note = f"<< /Type /Annot /Subtype /{kind} /Rect [5 5 20 20] /InkList [[5 5 20 20]] /C [0 0 0] >>"
    page = read_one(pdf("/MediaBox [0 0 72 36] /Annots [6 0 R]", PICTURE, note))
    assert (page.shape[:2] == (150, 300)) is is_drawn


def test_the_finer_direction_of_an_uneven_scan_counts():
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (98, 204), np.uint8)).save(buffer, "JPEG")
    fax = stream("/Type /XObject /Subtype /Image /Width 204 /Height 98 /BitsPerComponent 8 /ColorSpace /DeviceGray "
                 "/Filter /DCTDecode", buffer.getvalue())  # fmt: skip
    data = pdf("/MediaBox [0 0 72 72]", "q 72 0 0 72 0 0 cm /I Do Q", fax)
    assert read_one(data.replace(b"/I 5 0 R", b"/I 6 0 R")).shape == (204, 204, 3)


def test_what_was_filled_in_is_seen():
    field = "<< /Type /Annot /Subtype /Widget /FT /Tx /T (f) /V (x) /F 4 /Rect [10 10 30 20] /AP << /N 7 0 R >> >>"
    look = stream("/Type /XObject /Subtype /Form /BBox [0 0 20 10]", b"0 g 0 0 20 10 re f")
    data = pdf("/MediaBox [0 0 72 36] /Annots [6 0 R]", "", field, look, catalog="/AcroForm << /Fields [6 0 R] >>")
    page = read_one(data, pdf_dpi=72)
    assert (page[17:25, 11:29] == 0).all()
    assert (page[:15] == 255).all()


def scan(content: bytes) -> bytes:
    """A PDF of one scan, with that for its JPEG file."""
    jpeg = stream("/Type /XObject /Subtype /Image /Width 40 /Height 20 /BitsPerComponent 8 /ColorSpace /DeviceRGB "
                  "/Filter /DCTDecode", content)  # fmt: skip
    return pdf("/MediaBox [0 0 72 36]", PICTURE).replace(
        stream("/Type /XObject /Subtype /Image /Width 18 /Height 9 /BitsPerComponent 8 /ColorSpace /DeviceGray",
               bytes(200 for _ in range(162))), jpeg)  # fmt: skip


@pytest.mark.parametrize("value", [255, 90])
def test_a_scan_of_one_colour_is_a_page_and_a_scan_that_cannot_be_decoded_is_not(value: int):
    jpeg = io.BytesIO()
    Image.new("RGB", (40, 20), (value,) * 3).save(jpeg, "JPEG")
    with open_document(scan(jpeg.getvalue()), name="a.pdf") as document:
        assert document.page(0).mean() == pytest.approx(value, abs=3)
    broken = bytes(len(jpeg.getvalue()))
    lost = pytest.raises(ImageError, match=r"a\.pdf: its picture cannot be decoded")
    with open_document(scan(broken), name="a.pdf") as document, lost:
        document.page(0)


@pytest.mark.parametrize("content", [f"{PICTURE} {WORD}", f"q 36 0 0 36 0 0 cm /I Do Q {WORD}"])
def test_a_stamp_on_a_scan_that_cannot_be_decoded_does_not_make_it_a_page(content: str):
    data = scan(bytes(500)).replace(pdf_content(PICTURE), pdf_content(content))
    with pytest.raises(ImageError, match="its picture cannot be decoded"):
        read_one(data)


def test_a_small_picture_that_cannot_be_decoded_costs_no_page():
    data = scan(bytes(500)).replace(pdf_content(PICTURE), pdf_content(f"q 9 0 0 9 0 0 cm /I Do Q {WORD}"))
    assert read_one(data).min() < 100


def pdf_content(content: str) -> bytes:
    return stream("", content.encode())


def film(columns: int, rows: int, inches: tuple[float, float]) -> bytes:
    """A PDF of one scan of so many pixels on a page of that size."""
    width, height = (72 * side for side in inches)
    picture = stream(f"/Type /XObject /Subtype /Image /Width {columns} /Height {rows} /BitsPerComponent 1 /ColorSpace "
                     "/DeviceGray /Filter /FlateDecode", zlib.compress(bytes(-(-columns // 8) * rows)))  # fmt: skip
    content = f"q {width} 0 0 {height} 0 0 cm /I Do Q"
    return pdf(f"/MediaBox [0 0 {width} {height}]", content, picture).replace(b"/I 5 0 R", b"/I 6 0 R")


@pytest.mark.parametrize(
    ("pixels", "inches", "options", "expected"),
    [
        ((7225, 9350), (8.5, 11), {}, (2710, 3507)),  # 850 dpi
        ((4000, 3000), (1.25, 0.9375), {}, (3507, 2630)),  # a frame of a film
        ((2000, 1500), (1.25, 0.9375), {}, (2000, 1500)),
        ((4000, 3000), (1.25, 0.9375), {"pdf_dpi": 150}, (188, 141)),
        ((4000, 3000), (1.25, 0.9375), {"pdf_dpi": 600}, (4000, 3000)),
    ],
)
def test_a_scan_that_is_small_on_paper_keeps_the_pixels_that_it_has(pixels, inches, options, expected):
    height, width, _ = read_one(film(*pixels, inches), **options).shape
    assert (width, height) == pytest.approx(expected, abs=2)


def test_the_limit_of_pixels_holds_for_a_scan_that_is_small_on_paper():
    height, width, _ = read_one(film(4000, 3000, (1.25, 0.9375)), max_pixels=4_000_000).shape
    assert 3_900_000 < width * height <= 4_000_000
