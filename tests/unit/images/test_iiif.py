import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import png
from webserver import Answer, WebServer, serve

from quillread.errors import ImageError
from quillread.images.document import ReadConfig
from quillread.images.read import open_document
from quillread.images.web import WebConfig

CONFIG = ReadConfig(web=WebConfig(timeout=5, retries=0))


def shade(value: int) -> bytes:
    return png(np.full((4, 6, 3), value, np.uint8))


@pytest.fixture
def site() -> Iterator[WebServer]:
    with serve() as found:
        yield found


def manifest_3(*bodies: Any) -> bytes:
    canvases = [
        {
            "type": "Canvas",
            "items": [{"type": "AnnotationPage", "items": [{"motivation": "painting", "body": body}] if body else []}],
        }
        for body in bodies
    ]
    context = "http://iiif.io/api/presentation/3/context.json"
    return json.dumps({"@context": context, "type": "Manifest", "items": canvases}).encode()


def manifest_2(*resources: Any) -> bytes:
    canvases = [{"@type": "sc:Canvas", "images": [{"resource": r}] if r else []} for r in resources]
    context = "http://iiif.io/api/presentation/2/context.json"
    return json.dumps({"@context": context, "@type": "sc:Manifest", "sequences": [{"canvases": canvases}]}).encode()


def shades(source: bytes | str | Path) -> list[int]:
    with open_document(source, CONFIG) as document:
        return [int(document.page(index)[0, 0, 0]) for index in range(len(document))]


def image_3(site: WebServer, name: str, value: int) -> dict[str, Any]:
    """An image with a service, which has it in full size, and an address, which has it smaller."""
    site.add(f"/{name}/full/max/0/default.jpg", Answer(shade(value)))
    small = site.add(f"/{name}/small.jpg", Answer(shade(255)))
    return {"id": small, "type": "Image", "service": [{"id": f"{site.address}/{name}", "type": "ImageService3"}]}


def image_2(site: WebServer, name: str, value: int) -> dict[str, Any]:
    site.add(f"/{name}/full/full/0/default.jpg", Answer(shade(value)))
    context = "http://iiif.io/api/image/2/context.json"
    small = site.add(f"/{name}/small.jpg", Answer(shade(255)))
    return {"@id": small, "service": {"@context": context, "@id": f"{site.address}/{name}"}}


def test_version_3_gives_its_canvases_in_full_size(site: WebServer):
    assert shades(manifest_3(image_3(site, "a", 10), image_3(site, "b", 20))) == [10, 20]


def test_version_2_gives_its_canvases_in_full_size(site: WebServer):
    assert shades(manifest_2(image_2(site, "a", 10), image_2(site, "b", 20))) == [10, 20]


def test_version_3_with_an_image_service_of_version_2(site: WebServer):
    image = image_2(site, "a", 10)
    body = {"id": image["@id"], "service": [{"@id": f"{site.address}/a", "@type": "ImageService2"}]}
    assert shades(manifest_3(body)) == [10]


def test_a_service_of_version_1_has_another_name_for_the_colours(site: WebServer):
    site.add("/a/full/full/0/native.jpg", Answer(shade(10)))
    profile = "http://library.stanford.edu/iiif/image-api/1.1/compliance.html#level1"
    assert shades(manifest_2({"@id": "", "service": {"@id": f"{site.address}/a", "profile": profile}})) == [10]


def test_an_image_without_a_service_is_fetched_as_it_is_named(site: WebServer):
    assert shades(manifest_3({"id": site.add("/a.png", Answer(shade(10)))})) == [10]


def test_a_service_that_refuses_full_size_is_passed_over(site: WebServer):
    image = image_3(site, "a", 10)
    site.add("/a/full/max/0/default.jpg", Answer(status=403))
    assert shades(manifest_3(image)) == [255]


def test_of_several_images_to_choose_from_the_first_is_taken(site: WebServer):
    choice = {"type": "Choice", "items": [image_3(site, "a", 10), image_3(site, "b", 20)]}
    assert shades(manifest_3(choice)) == [10]


def test_version_2_choices_have_a_default(site: WebServer):
    choice = {"@type": "oa:Choice", "default": image_2(site, "a", 10), "item": image_2(site, "b", 20)}
    assert shades(manifest_2(choice)) == [10]


def test_a_manifest_may_be_an_address_or_a_file(site: WebServer, tmp_path: Path):
    content = manifest_3(image_3(site, "a", 10))
    (tmp_path / "book.json").write_bytes(b"\xef\xbb\xbf" + content)
    assert shades(site.add("/manifest", Answer(content))) == [10]
    assert shades(tmp_path / "book.json") == [10]


def test_an_image_may_be_an_address(site: WebServer):
    assert shades(site.add("/a.png", Answer(shade(10)))) == [10]


def test_images_are_fetched_when_they_are_asked_for(site: WebServer):
    with open_document(manifest_3(image_3(site, "a", 10), image_3(site, "b", 20)), CONFIG) as document:
        assert site.asked == []
        document.page(1)
    assert site.asked == ["/b/full/max/0/default.jpg"]


def test_a_page_that_cannot_be_had_does_not_harm_the_others(site: WebServer):
    bodies = [{"id": f"{site.address}/none.jpg"}, None, image_3(site, "c", 30), {"id": site.add("/t", Answer(b"text"))}]
    with open_document(manifest_3(*bodies), CONFIG, name="book") as document:
        assert int(document.page(2)[0, 0, 0]) == 30
        for index, message in ((0, "book, page 1: http.*none.jpg: HTTP 404"), (1, "no image"), (3, "is not an image")):
            with pytest.raises(ImageError, match=message):
                document.page(index)


def test_images_outside_the_web_are_not_fetched(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(shade(10))
    with (
        open_document(manifest_3({"id": (tmp_path / "a.png").as_uri()}), CONFIG) as document,
        pytest.raises(ImageError, match="the canvas has no image"),
    ):
        document.page(0)


def test_the_pixel_limit_holds_for_images_of_the_web(site: WebServer):
    config = ReadConfig(max_pixels=10)
    with (
        open_document(manifest_3(image_3(site, "a", 10)), config) as document,
        pytest.raises(ImageError, match="more than the limit of 10 pixels"),
    ):
        document.page(0)


CONTEXT = b'"@context": "http://iiif.io/api/presentation/3/context.json"'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": ', "is broken JSON"),
        (b'{"a": 1}', "is JSON, but no IIIF manifest"),
        (b"{%s, " % CONTEXT + b'"type": "Collection", "items": []}', "is a IIIF collection"),
        (b"{%s, " % CONTEXT + b'"type": "Manifest", "items": []}', "is a IIIF manifest without pages"),
        (b"{%s, " % CONTEXT + b'"type": "Manifest", "items": 5}', "is a IIIF manifest without pages"),
        (b"{%s, " % CONTEXT + b'"sequences": [[1], "x", {"canvases": null}]}', "is a IIIF manifest without pages"),
        (b'{"a":' * 100_000, "is broken JSON"),
    ],
)
def test_what_is_no_manifest_is_refused(content: bytes, message: str):
    with pytest.raises(ImageError, match=f"book: {message}"):
        open_document(content, CONFIG, name="book")


@pytest.mark.parametrize("body", [5, "text", [], {}, {"id": 5}, {"service": "x"}, {"service": [{"@id": None}]}, [[{}]]])
def test_a_body_of_another_form_is_a_page_without_an_image(body: Any):
    with open_document(manifest_3(body), CONFIG) as document, pytest.raises(ImageError, match="has no image"):
        document.page(0)
