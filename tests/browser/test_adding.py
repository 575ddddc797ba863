"""What is added: folders with folders in them, large files in pieces, addresses of manifests."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from browsing import LETTER, EditorDriver, Served, expect
from PIL import Image
from webserver import Answer, serve

from quillread.serve.archive.home import Archive
from quillread.serve.config import ServeConfig

PAGE_XML = """<?xml version="1.0" encoding="UTF-8"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15">
<Page imageFilename="{name}.jpg" imageWidth="600" imageHeight="400"><TextRegion id="r">
<Coords points="20,20 580,20 580,90 20,90"/>
<TextLine id="l"><Coords points="20,20 580,20 580,90 20,90"/><Baseline points="20,80 580,80"/>
<TextEquiv><Unicode>from the file</Unicode></TextEquiv></TextLine></TextRegion></Page></PcGts>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scans as people keep them: in folders, with the XML of a program beside them, and what systems leave there."""
    estate = tmp_path / "Estate"
    for place, names in (("1890", ("10", "9")), ("1891/June", ("9",))):
        (estate / place).mkdir(parents=True)
        for name in names:
            Image.new("RGB", (600, 400), "white").save(estate / place / f"{name}.jpg")
    (estate / "1890" / "page").mkdir()
    (estate / "1890" / "page" / "9.xml").write_text(PAGE_XML.format(name="9"), encoding="utf-8")
    (estate / "1890" / "._9.jpg").write_bytes(b"of a Mac")
    (estate / "notes.ini").write_text("of a system", encoding="utf-8")
    return estate


@pytest.fixture
def alone(tmp_path: Path, browser: Any) -> Iterator[Served]:
    """A server of the test's own, with an empty collection."""
    served = Served(tmp_path / "archive" / "data", settings=("web.allow=any",))
    served.data.parent.mkdir()
    with Archive(ServeConfig(data=served.data)):
        pass
    served.start()
    served.call("POST", "collections", json={"name": "Mine"})
    yield served
    served.stop()


def open_empty(tab: Any, served: Served, id: int) -> None:
    tab.goto(f"{served.address}/#/collection/{id}")
    tab.locator(".welcome").wait_for()


def assert_estate(served: Served, tab: Any, collection: int) -> None:
    """All of the folder is there, as documents in their order, and the text of the XML is that of its page."""
    expect(tab.locator(".cell")).to_have_count(3, timeout=60_000)
    expect(tab.locator(".toast", has_text="2 files of other kinds were skipped")).to_have_count(1)
    documents = served.call("GET", f"collections/{collection}/documents")["items"]
    assert [document["name"] for document in documents] == ["1890", "1891 / June"]
    pages = served.call("GET", f"collections/{collection}/pages")["items"]
    assert [page["source_name"] for page in pages] == ["9.jpg", "10.jpg", "9.jpg"]
    assert [line["text"] for line in served.lines(pages[0]["id"])] == ["from the file"]


def test_a_folder_with_folders_is_chosen_by_keys_and_becomes_documents(served: Served, tab: Any, folder: Path):
    made = served.call("POST", "collections", json={"name": "Chosen"})["id"]
    open_empty(tab, served, made)
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Choose a folder").first.press("Enter")
    chooser.value.set_files(folder)
    assert_estate(served, tab, made)


def test_a_folder_with_folders_is_dropped_and_becomes_documents(served: Served, tab: Any, folder: Path):
    made = served.call("POST", "collections", json={"name": "Dropped folder"})["id"]
    open_empty(tab, served, made)
    drop(tab, folder)
    assert_estate(served, tab, made)


def drop(tab: Any, file: Path) -> None:
    """Drop a file or a folder as the system does it: a script cannot make entries of folders."""
    devtools = tab.context.new_cdp_session(tab)
    data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 300, "data": data})


def test_a_file_that_is_dropped_on_the_editor_goes_into_the_collection_of_its_page(
    served: Served, tab: Any, folder: Path
):
    made = served.new_collection("Dropped on the editor", 1)
    page = served.call("GET", f"collections/{made}/pages")["items"][0]["id"]
    editor = EditorDriver(tab, served, page).open()
    drop(tab, folder / "1890" / "9.jpg")
    tab.get_by_text("1 file sent").wait_for()
    editor.wait_until(lambda: len(served.call("GET", f"collections/{made}/pages")["items"]) == 2)
    assert tab.url.endswith(f"#/page/{page}")


@pytest.mark.parametrize("screen", ["account", "bin", "search?q=aunt", "collection/{}/teach"])
def test_screens_that_are_of_no_collection_ask_for_one(served: Served, tab: Any, folder: Path, screen: str):
    made = served.call("POST", "collections", json={"name": f"For {screen[:3]}"})["id"]
    tab.goto(f"{served.address}/#/{screen.format(made)}")
    tab.locator("main").wait_for()
    tab.wait_for_timeout(300)
    drop(tab, folder / "1890" / "9.jpg")
    tab.locator("#target").wait_for()
    if "collection" in screen:  # the one that the screen is about is proposed
        assert tab.locator("#target").input_value() == str(made)
    tab.locator("#target").select_option(str(made))
    tab.locator("#target").press("Enter")
    tab.wait_for_url(re.compile(f"#/collection/{made}$"))
    tab.locator(".cell").wait_for(timeout=60_000)


def test_nothing_can_be_dropped_where_one_only_reads(served: Served, tab: Any, folder: Path):
    tab.route("**/api/v1/collections/1", answer_as_reader)
    tab.goto(f"{served.address}/#/collection/1")
    tab.locator(".cell").first.wait_for()
    drop(tab, folder / "1890" / "9.jpg")
    tab.wait_for_timeout(300)
    assert tab.locator(".drop-veil:visible, dialog, .toast").count() == 0
    assert tab.url.endswith("#/collection/1")


def answer_as_reader(route: Any) -> None:
    route.fulfill(json=route.fetch().json() | {"role": "reader"})


LOSES_THE_FIRST = """
window.answers = [];
const fetched = window.fetch;
window.fetch = async (url, facts) => {
  const answer = await fetched(url, facts);
  if (!String(url).endsWith("/uploads")) return answer;
  window.answers.push(answer.status);
  if (window.answers.length === 1) throw new TypeError("the network went away");
  return answer;
};
"""
"""The first answer to files that were sent never arrives."""


def choose(tab: Any, *files: Path) -> None:
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Choose files").first.press("Enter")
    chooser.value.set_files(files)


def test_files_whose_answer_was_lost_are_sent_again_and_added_once(alone: Served, tab: Any, folder: Path):
    tab.add_init_script(LOSES_THE_FIRST)
    open_empty(tab, alone, 1)
    choose(tab, folder / "1890" / "9.jpg")
    tab.get_by_text("1 file sent").wait_for()
    assert tab.evaluate("answers") == [202, 202]
    jobs = alone.call("GET", "jobs")["items"]
    assert [job["kind"] for job in jobs].count("import") == 1


def test_files_that_were_not_sent_are_told_and_sent_when_one_says_so(alone: Served, tab: Any, folder: Path):
    tab.route("**/collections/*/uploads", lambda route: route.fulfill(status=403, body="{}"), times=1)
    open_empty(tab, alone, 1)
    choose(tab, folder / "1890" / "9.jpg")
    expect(tab.locator(".toast.error")).to_contain_text("1 file was not sent:")
    tab.locator(".toast.error").get_by_role("button", name="Try again").press("Enter")
    tab.get_by_text("1 file sent").wait_for()
    expect(tab.locator(".cell")).to_have_count(1, timeout=60_000)


def make_large(folder: Path) -> Path:
    """A file that is sent in pieces."""
    large = folder / "large.tif"
    with Image.open(LETTER) as image:
        image.convert("RGB").resize((3000, 3900)).save(large)  # as it is, without compression
    assert large.stat().st_size > 32e6
    return large


def test_a_large_file_goes_on_where_it_was_when_the_server_was_killed(alone: Served, tab: Any, tmp_path: Path):
    large = make_large(tmp_path)
    open_empty(tab, alone, 1)
    network = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 4e6}
    devtools = tab.context.new_cdp_session(tab)
    devtools.send("Network.enable")
    devtools.send("Network.emulateNetworkConditions", network)
    offsets: list[int] = []
    tab.on("request", lambda r: offsets.append(int(r.headers["upload-offset"])) if r.method == "PATCH" else None)
    choose(tab, large)
    bar = tab.locator(".toast.upload progress")
    expect(bar).not_to_have_attribute("value", "0", timeout=60_000)
    tab.wait_for_timeout(500)  # into a piece
    alone.kill()
    alone.start()
    devtools.send("Network.emulateNetworkConditions", network | {"uploadThroughput": -1})
    tab.locator(".cell").wait_for(timeout=90_000)
    expect(tab.locator(".toast.error")).to_have_count(0)
    assert offsets.count(0) == 1  # it did not begin anew
    page = alone.call("GET", "collections/1/pages")["items"][0]
    assert page["source_name"] == "large.tif"
    assert httpx.get(f"{alone.address}/api/v1/pages/{page['id']}/original").content == large.read_bytes()


def test_a_large_file_that_came_whole_is_imported_though_its_import_was_not_begun(
    alone: Served, tab: Any, tmp_path: Path
):
    large = make_large(tmp_path)

    def keep_and_fail(route: Any) -> None:
        """As a server does that has all bytes, and whose queue is full."""
        (alone.data / "uploads" / "resumable" / route.request.url.rpartition("/")[2]).write_bytes(large.read_bytes())
        route.fulfill(status=429, json={"detail": "too much"})

    open_empty(tab, alone, 1)
    tab.route(re.compile("/uploads/0-"), keep_and_fail, times=1)
    choose(tab, large)
    tab.get_by_text("1 file sent").wait_for()
    tab.locator(".cell").wait_for(timeout=60_000)
    assert [job["kind"] for job in alone.call("GET", "jobs")["items"]].count("import") == 1


def test_a_large_file_that_is_refused_is_refused_again(alone: Served, tab: Any, tmp_path: Path):
    large = tmp_path / "large.tif"
    large.write_bytes(bytes(33_000_000))
    open_empty(tab, alone, 1)
    for times in (1, 2, 3):
        choose(tab, large)
        expect(tab.locator(".toast.error", has_text="1 file was refused: large.tif")).to_have_count(times)
    expect(tab.get_by_text("1 file sent")).to_have_count(0)
    assert alone.call("GET", "jobs")["items"] == []


def test_files_that_cannot_be_taken_are_named_and_do_not_keep_others_out(served: Served, tab: Any, tmp_path: Path):
    made = served.call("POST", "collections", json={"name": "Mixed"})["id"]
    open_empty(tab, served, made)
    files = [tmp_path / f"{number}.jpg" for number in range(7)]
    for number, file in enumerate(files):
        Image.new("RGB", (60, 40), (number, 0, 0)).save(file)
    files[2].write_bytes(b"")
    files[5].write_text("this is no image", encoding="utf-8")
    choose(tab, *files)
    error = tab.locator(".toast.error")
    expect(error).to_contain_text("2 files were refused: 2.jpg is empty.")
    expect(error).to_contain_text("5.jpg")
    expect(tab.locator(".cell")).to_have_count(5, timeout=60_000)
    expect(tab.locator(".toast", has_text="5 files sent")).to_have_count(1)


def test_files_wait_for_a_server_that_has_too_much_to_do(served: Served, tab: Any, tmp_path: Path):
    made = served.call("POST", "collections", json={"name": "Busy"})["id"]
    open_empty(tab, served, made)
    busy = iter([True])

    def answer(route: Any) -> None:
        if next(busy, False):
            route.fulfill(status=429, json={"detail": "too much"}, headers={"Retry-After": "1"})
        else:
            route.continue_()

    tab.route(f"**/collections/{made}/uploads", answer)
    choose(tab, LETTER)
    tab.locator(".cell").wait_for(timeout=60_000)
    expect(tab.locator(".toast.error")).to_have_count(0)


def test_pages_of_a_manifest_are_added_by_its_address_with_keys(alone: Served, tab: Any):
    with serve() as site:
        images = [site.add(f"/{i}.jpg", Answer(LETTER.read_bytes())) for i in range(2)]
        canvases = [
            {"label": label, "images": [{"resource": {"@id": address}}]}
            for label, address in zip(("1r", "<i>1v</i>"), images, strict=True)
        ]
        context = "http://iiif.io/api/presentation/2/context.json"
        manifest = {"@context": context, "label": "<b>Codex</b> 7", "sequences": [{"canvases": canvases}]}
        address = site.add("/book/manifest.json", Answer(json.dumps(manifest).encode()))
        open_empty(tab, alone, 1)
        tab.get_by_role("button", name="Add pages").press("Enter")
        expect(tab.get_by_role("menuitem").first).to_be_focused()
        tab.keyboard.press("ArrowUp")  # the last entry
        tab.keyboard.press("Enter")
        tab.locator("#ask:focus").wait_for()
        tab.keyboard.type(address)
        tab.keyboard.press("Enter")
        expect(tab.locator(".cell")).to_have_count(2, timeout=60_000)
    expect(tab.locator(".grid-head h2")).to_have_text("<b>Codex</b> 7")
    expect(tab.locator(".cell-name")).to_have_text(["1r", "<i>1v</i>"])


def test_a_dialog_stays_where_text_is_selected_beyond_its_edge(served: Served, tab: Any):
    made = served.call("POST", "collections", json={"name": "Selected"})["id"]
    open_empty(tab, served, made)
    tab.get_by_role("button", name="Add pages").press("Enter")
    tab.get_by_role("menuitem", name="address").press("Enter")
    tab.locator("#ask:focus").wait_for()
    tab.keyboard.type("https://example.org/manifest.json")
    box = tab.locator("#ask").bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(5, box["y"], steps=5)
    tab.mouse.up()
    tab.wait_for_timeout(200)
    expect(tab.locator("#ask")).to_have_value("https://example.org/manifest.json")
    tab.mouse.click(5, 5)
    expect(tab.locator("dialog")).to_have_count(0)


def test_a_dialog_that_closed_does_not_take_the_focus_back_from_the_next_key(served: Served, tab: Any):
    made = served.call("POST", "collections", json={"name": "Quick"})["id"]
    open_empty(tab, served, made)
    for goes in (True, False):  # on to the next button, before the event that tells of the closing
        tab.get_by_role("button", name="Add pages").press("Enter")
        tab.get_by_role("menuitem", name="address").press("Enter")
        tab.locator("#ask:focus").wait_for()
        went_on = tab.evaluate(
            """(goes) => new Promise((answer) => {
                const dialog = document.querySelector("dialog");
                const next = document.querySelector(".jobs-button");
                const tell = () => answer(document.activeElement === next);
                dialog.addEventListener("close", () => requestAnimationFrame(tell));
                dialog.close();
                if (goes) next.focus();
            })""",
            goes,
        )
        assert went_on == goes
    expect(tab.get_by_role("button", name="Add pages")).to_be_focused()


def test_an_address_that_does_not_answer_says_why(alone: Served, tab: Any):
    with serve() as site:
        address = site.add("/gone.json", Answer(status=404))
        open_empty(tab, alone, 1)
        tab.get_by_role("button", name="Add pages").press("Enter")
        tab.get_by_role("menuitem", name="address").press("Enter")
        tab.keyboard.type(address)
        tab.keyboard.press("Enter")
        tab.get_by_role("button", name="Activity").press("Enter")
        expect(tab.locator(".job .fault")).to_contain_text("404", timeout=60_000)
