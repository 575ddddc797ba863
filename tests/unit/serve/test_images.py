import io
from collections.abc import Callable

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from quillread.serve.archive.home import Archive
from quillread.serve.archive.views import Box, ViewCache, make_view
from quillread.serve.database.schema import Blob, Page

MakePage = Callable[..., int]


def four_colours(width: int = 400, height: int = 600):
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (250, 0, 0)
    image[: height // 2, width // 2 :] = (0, 250, 0)
    image[height // 2 :, : width // 2] = (0, 0, 250)
    image[height // 2 :, width // 2 :] = (250, 250, 250)
    return image


@pytest.fixture
def page(client: TestClient, collection: int, make_page: MakePage) -> int:
    document = client.post(f"/api/v1/collections/{collection}/documents", json={"name": "a"}).json()["id"]
    return make_page(document, image=four_colours())


def opened(answer) -> Image.Image:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    return Image.open(io.BytesIO(answer.content))


def test_a_page_is_shown_in_any_width(client: TestClient, page: int):
    assert opened(client.get(f"/api/v1/pages/{page}/image")).size == (400, 600)
    assert opened(client.get(f"/api/v1/pages/{page}/image?width=100")).size == (100, 150)
    assert opened(client.get(f"/api/v1/pages/{page}/image?width=5000")).size == (400, 600)
    assert opened(client.get(f"/api/v1/pages/{page}/thumbnail")).size == (320, 480)


def test_a_page_larger_than_pillow_opens_by_itself_is_shown(
    client: TestClient, page: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400 * 600 // 2 - 1)  # from twice as many on it raises
    answers = [client.get(f"/api/v1/pages/{page}/{place}") for place in ("image", "image?width=100")]
    monkeypatch.undo()
    assert [opened(answer).size for answer in answers] == [(400, 600), (100, 150)]


def test_an_image_that_a_browser_has_is_not_sent_again(client: TestClient, page: int):
    for place in ("image", "image?width=100", "thumbnail", "original"):
        answer = client.get(f"/api/v1/pages/{page}/{place}")
        assert "immutable" in answer.headers["cache-control"]
        tag = answer.headers["etag"]
        again = client.get(f"/api/v1/pages/{page}/{place}", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("region", "size", "expected", "colour"),
    [
        ("full", "max", (400, 600), None),
        ("0,0,200,300", "max", (200, 300), (250, 0, 0)),
        ("200,0,200,300", "50,", (50, 75), (0, 250, 0)),
        ("0,300,200,300", ",60", (40, 60), (0, 0, 250)),
        ("200,300,900,900", "20,20", (20, 20), (250, 250, 250)),
        ("square", "40,", (40, 40), None),
    ],
)
def test_parts_are_cut_out_and_scaled(
    client: TestClient, page: int, region: str, size: str, expected: tuple[int, int], colour: tuple[int, ...] | None
):
    part = opened(client.get(f"/api/v1/iiif/{page}/{region}/{size}/0/default.jpg"))
    assert part.size == expected
    if colour:
        middle = part.getpixel((expected[0] // 2, expected[1] // 2))
        assert max(abs(a - b) for a, b in zip(middle, colour, strict=True)) < 16


@pytest.mark.parametrize(
    "what",
    [
        "full/max/90/default.jpg",
        "full/max/0/bitonal.jpg",
        "full/max/0/default.png",
        "400,0,10,10/max/0/default.jpg",
        "0,0,0,10/max/0/default.jpg",
        "pct:0,0,10,10/max/0/default.jpg",
        "full/401,/0/default.jpg",
        "full/0,/0/default.jpg",
        "full/,/0/default.jpg",
        "full/^max/0/default.jpg",
        "-1,0,5,5/max/0/default.jpg",
    ],
)
def test_parts_that_do_not_exist_are_refused(client: TestClient, page: int, what: str):
    assert client.get(f"/api/v1/iiif/{page}/{what}").status_code == 400


def test_the_description_of_a_page_tells_its_tiles(client: TestClient, page: int):
    info = client.get(f"/api/v1/iiif/{page}").json()  # redirected
    assert info["id"] == f"http://127.0.0.1:8765/api/v1/iiif/{page}"
    assert (info["width"], info["height"], info["profile"]) == (400, 600, "level1")
    for size in info["sizes"]:
        place = f"{info['id']}/full/{size['width']},{size['height']}/0/default.jpg"
        assert opened(client.get(place)).size == (size["width"], size["height"])


def test_originals_are_saved_not_shown_whatever_they_are_called(
    client: TestClient, archive: Archive, page: int, collection: int
):
    content = b"<html><script>alert(1)</script>"
    stored = archive.storage.add(content)
    with archive.database.write() as session:
        session.add(Blob(sha256=stored.sha256, size=stored.size, media_type="text/html"))
        session.flush()
        row = session.get_one(Page, page)
        row.source, row.source_name = stored.sha256, 'a"; filename=x.html\r\n<script>é.html'
    answer = client.get(f"/api/v1/pages/{page}/original")
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''a%22%3B")


def test_a_page_that_could_not_be_decoded_says_why(client: TestClient, archive: Archive, page: int):
    with archive.database.write() as session:
        row = session.get_one(Page, page)
        row.view, row.thumbnail, row.state = None, None, "failed"
        row.fault = {"kind": "image", "message": "is cut off", "hint": None}
    answer = client.get(f"/api/v1/pages/{page}/image")
    assert answer.status_code == 404
    assert "is cut off" in answer.json()["detail"]


def test_decoded_pages_are_kept_within_a_bound(tmp_path):
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(make_view(four_colours(), None).jpeg)
    cache = ViewCache(most_bytes=2 * 400 * 600 * 4)
    for path in paths:
        cache.part(path, path.name, Box(0, 0, 10, 10), 10, 10)
    paths[0].unlink()
    paths[2].unlink()
    cache.part(paths[2], "2.jpg", Box(0, 0, 10, 10), 10, 10)
    with pytest.raises(FileNotFoundError):
        cache.part(paths[0], "0.jpg", Box(0, 0, 10, 10), 10, 10)


def test_a_part_shown_smaller_is_that_of_the_whole(tmp_path):
    path = tmp_path / "page.jpg"
    path.write_bytes(make_view(four_colours(1003, 2005), None).jpeg)
    part = Image.open(io.BytesIO(ViewCache().part(path, "page", Box(502, 0, 501, 1000), 60, 120)))
    assert part.size == (60, 120)
    assert np.abs(np.asarray(part).astype(int) - (0, 250, 0)).max() < 40


def test_grey_pages_are_grey_and_thumbnails_fit():
    view = make_view(np.full((4000, 100, 3), 90, np.uint8), None)
    assert Image.open(io.BytesIO(view.jpeg)).mode == "L"
    assert Image.open(io.BytesIO(view.thumbnail)).size == (16, 640)
