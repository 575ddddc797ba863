import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import png
from webserver import Answer, Names, WebServer, serve

from quillread.errors import ImageError
from quillread.images.document import ReadConfig
from quillread.images.read import open_document
from quillread.images.web import WebConfig

CONFIG = ReadConfig(web=WebConfig(allow="any", timeout=5, retries=0))
GIVEN = ReadConfig(web=WebConfig(timeout=5, retries=0))


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


def shades(source: bytes | str | Path, config: ReadConfig = CONFIG) -> list[int]:
    with open_document(source, config) as document:
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


def test_a_service_that_refuses_full_size_is_skipped(site: WebServer):
    image = image_3(site, "a", 10)
    site.add("/a/full/max/0/default.jpg", Answer(status=403))
    assert shades(manifest_3(image)) == [255]


def test_a_service_of_version_2_that_limits_the_size_gives_its_largest(site: WebServer):
    image = image_2(site, "a", 10)
    site.add("/a/full/full/0/default.jpg", Answer(status=403))
    site.add("/a/full/max/0/default.jpg", Answer(shade(20)))
    assert shades(manifest_2(image)) == [20]


@pytest.mark.parametrize(
    ("kind", "size"), [("ImageService3", "600,400"), ("ImageService2", "600,"), ("ImageService2", "600,400")]
)
def test_a_service_of_level_0_gives_the_largest_size_that_it_lists(kind: str, size: str, site: WebServer):
    sizes = [{"width": width, "height": width * 2 // 3} for width in (150, 600, 300)]
    description = {"@context": f"http://iiif.io/api/image/{kind[-1]}/context.json", "sizes": [*sizes, {"width": "9"}]}
    site.add("/a/info.json", Answer(json.dumps(description).encode()))
    site.add(f"/a/full/{size}/0/default.jpg", Answer(shade(10)))
    service = {"id": f"{site.address}/a", "type": kind, "profile": "level0"}
    assert shades(manifest_3({"id": f"{site.address}/gone.png", "service": [service]})) == [10]


@pytest.mark.parametrize(
    ("told", "size"),
    [
        ({"profile": ["level1", {"maxWidth": 600}]}, "600,"),
        ({"maxWidth": 600}, "600,"),
        ({"maxWidth": 600, "sizes": [{"width": 500, "height": 400}]}, "500,"),
    ],
)
def test_a_service_that_has_neither_full_nor_max_gives_the_largest_width_that_it_tells(
    told: dict[str, Any], size: str, site: WebServer
):
    image = image_2(site, "a", 10)
    site.add("/a/full/full/0/default.jpg", Answer(status=400))
    site.add("/a/info.json", Answer(json.dumps(told).encode()))
    site.add(f"/a/full/{size}/0/default.jpg", Answer(shade(20)))
    assert shades(manifest_2(image)) == [20]


@pytest.mark.parametrize("description", [b"", b"[]", b'{"sizes": [5, {}]}', b'{"a":' * 100_000])
def test_a_service_of_level_0_without_sizes_is_skipped(description: bytes, site: WebServer):
    site.add("/a/info.json", Answer(description))
    service = {"id": f"{site.address}/a", "type": "ImageService3", "profile": "level0"}
    assert shades(manifest_3({"id": site.add("/a.png", Answer(shade(10))), "service": [service]})) == [10]


def test_a_body_may_be_a_bare_address(site: WebServer):
    address = site.add("/a.png", Answer(shade(10)))
    assert shades(manifest_3(address, [address], {"type": "Choice", "items": [address]})) == [10, 10, 10]
    assert shades(manifest_2(address)) == [10]


def test_a_service_may_be_a_bare_address(site: WebServer):
    image = image_2(site, "a", 10)
    assert shades(manifest_2({"@id": image["@id"], "service": f"{site.address}/a"})) == [10]


def test_the_source_of_a_specific_resource_is_its_image(site: WebServer):
    for kind in ("ImageApiSelector", "FragmentSelector"):
        whole = {"type": "SpecificResource", "source": image_3(site, "a", 10), "selector": {"type": kind}}
        assert shades(manifest_3(whole, {**whole, "source": site.add("/b", Answer(shade(20)))})) == [10, 20]
    specific = {"@type": "oa:SpecificResource", "full": image_2(site, "c", 30), "selector": {"region": "full"}}
    assert shades(manifest_2(specific)) == [30]


@pytest.mark.parametrize(
    ("selector", "request_"),
    [
        ({"region": "0,0,50,60", "rotation": "90"}, "0,0,50,60/max/90"),
        ({"value": "xywh=5,6,70,80"}, "5,6,70,80/max/0"),
        ({"value": "xywh=percent:0,0,50,100"}, "pct:0,0,50,100/max/0"),
        ({"rotation": "180"}, "full/max/180"),
        ({"region": "../../x", "rotation": "1/2"}, "full/max/0"),
    ],
)
def test_a_part_of_an_image_is_asked_of_its_service(selector: dict[str, str], request_: str, site: WebServer):
    image = image_3(site, "a", 10)
    site.add(f"/a/{request_}/default.jpg", Answer(shade(20)))
    assert shades(manifest_3({"type": "SpecificResource", "source": image, "selector": [selector]})) == [20]


def test_an_annotation_may_have_several_motivations(site: WebServer):
    manifest = json.loads(manifest_3(image_3(site, "a", 10), image_3(site, "b", 20)))
    first, second = (canvas["items"][0]["items"][0] for canvas in manifest["items"])
    first["motivation"], second["motivation"] = ["tagging", "painting"], ["commenting"]
    with open_document(json.dumps(manifest).encode(), CONFIG) as document:
        assert int(document.page(0)[0, 0, 0]) == 10
        with pytest.raises(ImageError, match="page 2: the canvas has no image"):
            document.page(1)


def test_a_text_on_a_canvas_is_not_its_image(site: WebServer):
    manifest = json.loads(manifest_3({"type": "TextualBody", "id": f"{site.address}/text"}))
    notes = manifest["items"][0]["items"][0]["items"]
    notes.append({"body": image_3(site, "a", 10)})
    assert shades(json.dumps(manifest).encode()) == [10]


def test_of_several_images_to_choose_from_the_first_is_taken(site: WebServer):
    choice = {"type": "Choice", "items": [image_3(site, "a", 10), image_3(site, "b", 20)]}
    assert shades(manifest_3(choice)) == [10]


def test_version_2_choices_have_a_default(site: WebServer):
    choice = {"@type": "oa:Choice", "default": image_2(site, "a", 10), "item": image_2(site, "b", 20)}
    assert shades(manifest_2(choice)) == [10]


def test_a_manifest_may_be_an_address_or_a_file(site: WebServer, tmp_path: Path):
    content = manifest_3(image_3(site, "a", 10))
    (tmp_path / "book.json").write_bytes(b"\xef\xbb\xbf" + content)
    assert shades(site.add("/manifest", Answer(content)), GIVEN) == [10]
    assert shades(tmp_path / "book.json") == [10]


def test_a_manifest_in_bytes_or_in_a_file_leads_to_no_request(site: WebServer, tmp_path: Path):
    content = manifest_3(image_3(site, "a", 10))
    (tmp_path / "book.json").write_bytes(content)
    for source in (content, tmp_path / "book.json"):
        with pytest.raises(ImageError, match="is a IIIF manifest, its images are on the web") as caught:
            open_document(source, GIVEN)
        assert "set read.web.allow=named" in str(caught.value)
    assert site.asked == []


def test_a_manifest_in_bytes_may_be_let_ask_the_hosts_that_it_names(
    site: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    Names(monkeypatch, site, {"images.example": [["93.184.215.14"]]})
    site.add("/a.png", Answer(shade(10)))
    (tmp_path / "book.json").write_bytes(manifest_3({"id": f"http://images.example:{site.port}/a.png"}))
    assert shades(tmp_path / "book.json", ReadConfig(web=WebConfig(allow="named", retries=0))) == [10]


def test_a_manifest_cannot_lead_into_a_private_network(site: WebServer, monkeypatch: pytest.MonkeyPatch):
    names = Names(monkeypatch, site, {"library.example": [["93.184.215.14"]], "intern.example": [["10.0.0.1"]]})
    places = ["http://127.0.0.1:{}", "http://intern.example:{}", "http://169.254.169.254", "http://0x7f.1:{}"]
    bodies = [{"id": place.format(site.port) + "/a.png"} for place in places]
    site.add("/a.png", Answer(shade(10)))
    site.add("/manifest", Answer(manifest_3(*bodies, {"id": f"http://library.example:{site.port}/a.png"})))
    with open_document(f"http://library.example:{site.port}/manifest", GIVEN) as document:
        for index in range(len(places)):
            with pytest.raises(ImageError, match=f"page {index + 1}: http.*: is in a private network"):
                document.page(index)
        assert int(document.page(4)[0, 0, 0]) == 10
    assert site.asked == ["/manifest", "/a.png"]
    assert set(names.connected) == {"93.184.215.14"}


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/meta-data", "http://127.0.0.1:{}/a.png"])
def test_a_manifest_that_redirects_into_a_private_network_is_refused(
    target: str, site: WebServer, monkeypatch: pytest.MonkeyPatch
):
    Names(monkeypatch, site, {"library.example": [["93.184.215.14"]]})
    site.add("/manifest", Answer(status=302, headers={"Location": target.format(site.port)}))
    with pytest.raises(ImageError, match=r"manifest: redirected to http://1.*: is on a host that you did not name"):
        open_document(f"http://library.example:{site.port}/manifest", GIVEN)
    assert site.asked == ["/manifest"]


def test_a_typed_address_of_this_machine_does_not_open_its_other_ports(site: WebServer):
    with serve() as other:
        body = {"id": other.add("/a.png", Answer(shade(10)))}
        address = site.add("/manifest", Answer(manifest_3(body, {"id": site.add("/b.png", Answer(shade(20)))})))
        with open_document(address, GIVEN) as document:
            assert int(document.page(1)[0, 0, 0]) == 20
            with pytest.raises(ImageError, match="is in a private network"):
                document.page(0)
        assert other.asked == []


def test_a_manifest_that_is_far_too_large_is_refused(site: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("quillread.images.read.MOST_BYTES", 1000)
    content = manifest_3({"id": "http://a/" + "b" * 1000})
    (tmp_path / "book.json").write_bytes(content)
    for source in (content, tmp_path / "book.json", site.add("/manifest", Answer(content))):
        with pytest.raises(ImageError, match=r"is not an image, and 1,\d+ bytes are too many for a manifest"):
            open_document(source, CONFIG)


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
    config = ReadConfig(max_pixels=10, web=CONFIG.web)
    with (
        open_document(manifest_3(image_3(site, "a", 10)), config) as document,
        pytest.raises(ImageError, match="more than the limit of 10 pixels"),
    ):
        document.page(0)


CONTEXT = b'"@context": "http://iiif.io/api/presentation/3/context.json"'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": ', "cannot be read as JSON"),
        (b'{"a": 1}', "is JSON, but not a IIIF manifest"),
        (b"{%s, " % CONTEXT + b'"type": "Collection", "items": []}', "is a IIIF collection"),
        (b"{%s, " % CONTEXT + b'"type": "Manifest", "items": []}', "is a IIIF manifest without pages"),
        (
            b'{%s, "items": [' % CONTEXT + b"{}," * 100_000 + b"{}]}",
            "has 100,001 pages, more than the limit of 100,000",
        ),
        (b'{"a": [' + b"{}," * 1_000_000 + b"{}]}", "cannot be read as JSON: 1,000,003 objects and lists are too many"),
        (b"{%s, " % CONTEXT + b'"type": "Manifest", "items": 5}', "is a IIIF manifest without pages"),
        (b"{%s, " % CONTEXT + b'"sequences": [[1], "x", {"canvases": null}]}', "is a IIIF manifest without pages"),
        (b'{"a":' * 100_000, "cannot be read as JSON"),
        (b'{"@context": ' + b"[" * 900 + b"]" * 900 + b"}", "is "),
    ],
)
def test_what_is_no_manifest_is_refused(content: bytes, message: str):
    with pytest.raises(ImageError, match=f"book: {message}"):
        open_document(content, CONFIG, name="book")


@pytest.mark.parametrize("body", [5, "text", [], {}, {"id": 5}, {"service": "x"}, {"service": [{"@id": None}]}, [[{}]]])
def test_a_body_of_another_form_is_a_page_without_an_image(body: Any):
    with open_document(manifest_3(body), CONFIG) as document, pytest.raises(ImageError, match="has no image"):
        document.page(0)


@pytest.mark.parametrize(
    ("label", "told"),
    [
        ("12r", "12r"),
        ({"en": ["12 \n r", "other"]}, "12 r"),
        ([{"@value": "12r", "@language": "en"}], "12r"),
        ({}, ""),
        (None, ""),
        ({"none": [5]}, ""),
        ("a" * 500, "a" * 200),
    ],
)
def test_canvases_keep_their_labels(label: Any, told: str):
    newer = json.loads(manifest_3("https://a.example/1.jpg"))
    newer["items"][0]["label"] = label
    older = json.loads(manifest_2({"@id": "https://a.example/1.jpg"}))
    older["sequences"][0]["canvases"][0]["label"] = label
    for manifest in (newer, older):
        with open_document(json.dumps(manifest).encode(), CONFIG) as document:
            assert document.label(0) == told
