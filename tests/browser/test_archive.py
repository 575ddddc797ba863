"""Collections with the keyboard alone: files are taken in and read, pages found, chosen, moved, deleted, exported."""

import json
import re
from typing import Any

import pytest
from browsing import LETTER, SHOTS, Served, change, expect, findings


def open_collection(tab: Any, served: Served, id: int | None = None) -> None:
    tab.goto(f"{served.address}/#/collection/{id or served.collection}")
    tab.locator(".grid:focus").wait_for()
    tab.locator(".cell").first.wait_for()


def test_a_scan_is_added_read_and_opened_by_keys(served: Served, tab: Any):
    tab.goto(served.address)
    tab.get_by_role("button", name="New collection").first.press("Enter")
    tab.keyboard.type("Found in the attic")
    tab.keyboard.press("Enter")
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Choose files").first.press("Enter")
    chooser.value.set_files(LETTER)
    tab.locator(".cell[data-state=read]").wait_for(timeout=120_000)
    tab.locator(".grid").focus()
    tab.keyboard.press("Enter")
    tab.locator("textarea.field:focus").wait_for()
    assert tab.locator("li.line").count() > 15
    expect(tab.locator(".document-name")).to_have_text("letter")


def test_enter_takes_files_that_were_dropped_on_the_first_screen(served: Served, tab: Any):
    tab.goto(served.address)
    tab.locator(".card").first.wait_for()
    drop = """() => {
        const transfer = new DataTransfer();
        transfer.items.add(new File(['no image'], 'From the attic.jpg', {type: 'image/jpeg'}));
        for (const kind of ['dragenter', 'drop']) {
            document.body.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: transfer}));
        }
    }"""
    tab.evaluate(drop)
    tab.locator("#new-name:focus").wait_for()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("heading", name="From the attic")).to_be_visible()


def test_files_that_are_dropped_become_pages(served: Served, tab: Any):
    made = served.call("POST", "collections", json={"name": "Dropped"})["id"]
    tab.goto(f"{served.address}/#/collection/{made}")
    tab.locator(".welcome").wait_for()
    drop = """async name => {
        const blob = await (await fetch('api/v1/pages/1/image')).blob();
        const transfer = new DataTransfer();
        transfer.items.add(new File([blob], name, {type: 'image/jpeg'}));
        for (const kind of ['dragenter', 'dragover', 'drop'])
            document.body.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
    }"""
    name = "<img src=x onerror=alert(1)> 👩‍🌾 שלום"
    tab.on("dialog", lambda dialog: pytest.fail(f"the name was run: {dialog.message}"))
    tab.evaluate(drop, f"{name}.jpg")
    cell = tab.locator(".cell")
    cell.wait_for(timeout=60_000)
    expect(tab.locator(".cell-name")).to_have_text(name)
    tab.locator(".grid").focus()
    tab.keyboard.press("Enter")
    expect(tab.locator(".document-name")).to_have_text(name)
    expect(tab).to_have_title(re.compile(re.escape(name)))


def test_pages_are_chosen_deleted_and_taken_back_by_keys(served: Served, tab: Any):
    open_collection(tab, served, served.new_collection("To delete", 2))
    tab.keyboard.press(" ")
    tab.keyboard.press("Shift+ArrowRight")
    expect(tab.locator(".tray")).to_contain_text("2 pages selected")
    tab.keyboard.press("Delete")
    expect(tab.locator(".cell")).to_have_count(0)
    tab.get_by_role("button", name="Undo").press("Enter")
    expect(tab.locator(".cell")).to_have_count(2)


def test_pages_move_to_a_new_document_by_keys(served: Served, tab: Any):
    open_collection(tab, served, served.new_collection("Origin", 2))
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press(" ")
    tab.get_by_role("button", name="Move…").press("Enter")
    tab.locator("#move-to").press("End")
    tab.keyboard.press("Tab")
    tab.keyboard.type("Destination")
    tab.keyboard.press("Enter")
    tab.locator(".cell", has_text="Destination").wait_for()


def test_pages_move_to_another_collection_and_back_by_keys(served: Served, tab: Any):
    here = served.new_collection("Attic", 3)
    there = served.call("POST", "collections", json={"name": "Cellar"})["id"]

    def pages(collection: int) -> list[int]:
        return [page["id"] for page in served.call("GET", f"collections/{collection}/pages")["items"]]

    before = pages(here)
    open_collection(tab, served, here)
    tab.keyboard.press(" ")
    tab.keyboard.press("Shift+ArrowRight")
    tab.get_by_role("button", name="Move…").press("Enter")
    tab.locator("#move-to:focus").wait_for()
    tab.keyboard.press("End")
    tab.keyboard.press("ArrowUp")  # the newest collection, above a new document
    expect(tab.locator("#move-to option:checked")).to_have_text("Cellar")
    expect(tab.locator("#move-hint")).to_contain_text("keep their documents")
    assert findings(tab) == []
    tab.screenshot(path=SHOTS / "move.png")
    tab.keyboard.press("Enter")
    expect(tab.locator(".toast")).to_contain_text("2 pages moved to Cellar")
    expect(tab.locator(".cell")).to_have_count(1)
    assert (pages(here), pages(there)) == (before[2:], before[:2])
    tab.get_by_role("button", name="Undo").press("Enter")
    expect(tab.locator(".cell")).to_have_count(3)
    assert (pages(here), pages(there)) == (before, [])
    assert served.call("GET", f"collections/{there}/documents")["items"] == []


def test_a_whole_document_that_moves_is_the_same_there_and_has_its_place_again_after_undo(served: Served, tab: Any):
    here = served.new_collection("Upper shelf", 1)
    (document,) = served.call("GET", f"collections/{here}/documents")["items"]
    later = served.call("POST", f"collections/{here}/documents", json={"name": "Later"})["id"]
    there = served.call("POST", "collections", json={"name": "Lower shelf"})["id"]

    def documents(collection: int) -> list[int]:
        return [one["id"] for one in served.call("GET", f"collections/{collection}/documents")["items"]]

    open_collection(tab, served, here)
    tab.keyboard.press(" ")
    tab.get_by_role("button", name="Move…").press("Enter")
    tab.locator("#move-to").select_option(label="Lower shelf")
    tab.keyboard.press("Enter")
    expect(tab.locator(".toast")).to_contain_text("1 page moved to Lower shelf")
    assert (documents(here), documents(there)) == ([later], [document["id"]])
    tab.get_by_role("button", name="Undo").press("Enter")
    expect(tab.locator(".cell")).to_have_count(1)
    assert (documents(here), documents(there)) == ([document["id"], later], [])


def test_documents_that_are_not_neighbours_have_their_places_again_after_undo(served: Served, tab: Any):
    here = served.new_collection("Upper row", 1)
    (first,) = (one["id"] for one in served.call("GET", f"collections/{here}/documents")["items"])
    names = ("Second", "Third", "Fourth")
    others = [served.call("POST", f"collections/{here}/documents", json={"name": name})["id"] for name in names]
    served.call("PATCH", f"pages/{served.new_page()}", json={"document_id": others[1]})
    there = served.call("POST", "collections", json={"name": "Lower row"})["id"]

    def documents(collection: int) -> list[int]:
        return [one["id"] for one in served.call("GET", f"collections/{collection}/documents")["items"]]

    open_collection(tab, served, here)
    tab.keyboard.press(" ")
    tab.keyboard.press("Shift+ArrowRight")
    tab.get_by_role("button", name="Move…").press("Enter")
    tab.locator("#move-to").select_option(label="Lower row")
    tab.keyboard.press("Enter")
    expect(tab.locator(".toast")).to_contain_text("2 pages moved to Lower row")
    assert (documents(here), documents(there)) == ([others[0], others[2]], [first, others[1]])
    tab.get_by_role("button", name="Undo").press("Enter")
    expect(tab.locator(".cell")).to_have_count(2)
    assert (documents(here), documents(there)) == ([first, *others], [])


def test_pages_are_moved_to_no_document_that_nobody_sees(served: Served, tab: Any):
    here = served.new_collection("One of two", 1)
    served.call("POST", f"collections/{here}/documents", json={"name": "Emptied"})
    open_collection(tab, served, here)
    expect(tab.locator(".page-head")).to_contain_text("1 document ·")
    tab.keyboard.press(" ")
    tab.get_by_role("button", name="Move…").press("Enter")
    expect(tab.locator("#move-to optgroup").first.locator("option")).to_have_text(["One of two"])


def test_filters_show_what_they_say(served: Served, tab: Any):
    collection = served.new_collection("Mixed", 2)
    page = served.call("GET", f"collections/{collection}/pages")["items"][0]["id"]
    for line in served.lines(page):
        headers = {"If-Match": f'"{line["revision"]}"'}
        served.call("PUT", f"lines/{line['id']}/text", json={"text": line["text"], "checked": True}, headers=headers)
    open_collection(tab, served, collection)
    tab.locator("[data-filter=checked]").press("Enter")
    expect(tab.locator(".cell[data-state=checked]")).to_have_count(1)
    expect(tab.locator(".cell:not([data-state=checked])")).to_have_count(0)


def test_ten_thousand_pages_are_a_few_hundred_elements(served: Served, tab: Any):
    open_collection(tab, served, served.crowd)
    expect(tab.locator("[data-filter=all] .count")).to_have_text("10,000")
    for key in ("PageDown", "PageDown", "End", "Home", "End"):
        tab.keyboard.press(key)
    expect(tab.locator("[aria-posinset='10000']")).to_be_visible()
    assert tab.locator(".cell").count() < 150
    assert tab.evaluate("document.querySelectorAll('*').length") < 2500


def test_text_is_found_and_shown_on_its_page_by_keys(served: Served, tab: Any):
    page = served.new_page()
    line = served.lines(page)[4]
    headers = {"If-Match": f'"{line["revision"]}"'}
    served.call("PUT", f"lines/{line['id']}/text", json={"text": "the Zwiebelfisch swims"}, headers=headers)
    open_collection(tab, served)
    tab.get_by_role("searchbox").focus()
    tab.keyboard.type("zwiebelfisch")
    tab.keyboard.press("Enter")
    hit = tab.locator(".hit")
    hit.wait_for()
    expect(hit.locator("mark")).to_have_text("Zwiebelfisch")
    hit.press("Enter")
    tab.locator("textarea.field:focus").wait_for()
    expect(tab.locator("textarea.field")).to_have_value("the Zwiebelfisch swims")
    expect(tab.locator("svg g.hits polygon")).to_have_count(1)


def test_a_page_is_exported_in_a_format_after_a_look_at_it(served: Served, tab: Any):
    page = served.new_page()
    tab.goto(f"{served.address}/#/page/{page}")
    tab.locator("textarea.field").wait_for()
    tab.get_by_role("button", name="More").press("Enter")
    tab.get_by_role("menuitem", name="Export").press("Enter")
    tab.get_by_role("radio", name="JSON", exact=False).first.check()
    expect(tab.locator(".preview")).to_contain_text('"lines"')
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Download").press("Enter")
    assert json.loads(download.value.path().read_text(encoding="utf-8"))["pages"]


def test_a_document_is_exported_by_a_job_whose_file_is_downloaded(served: Served, tab: Any):
    open_collection(tab, served)
    tab.get_by_role("button", name="Export").first.press("Enter")
    tab.get_by_role("radio", name="Plain text").check()
    tab.get_by_role("button", name="Export", exact=True).press("Enter")
    tab.get_by_role("button", name="Show").press("Enter")
    link = tab.get_by_role("link", name="Download").first
    link.wait_for(timeout=60_000)
    with tab.expect_download() as download:
        link.press("Enter")
    assert re.search(r"\.(zip|txt)$", download.value.suggested_filename)


def test_two_keys_export_in_the_format_of_last_time(served: Served, tab: Any):
    page = served.new_page()
    tab.add_init_script("localStorage.setItem('quill.format', 'json')")
    tab.goto(f"{served.address}/#/page/{page}")
    tab.locator("textarea.field:focus").wait_for()
    tab.keyboard.press("Control+Shift+E")
    tab.get_by_role("link", name="Download").and_(tab.locator(":focus")).wait_for()
    with tab.expect_download() as download:
        tab.keyboard.press("Enter")
    assert json.loads(download.value.path().read_text(encoding="utf-8"))["pages"]


def test_a_collection_is_exported_by_keys_with_what_is_selected(served: Served, tab: Any):
    tab.add_init_script("localStorage.setItem('quill.format', 'txt')")
    open_collection(tab, served, served.new_collection("By keys", 3))
    tab.keyboard.press(" ")
    tab.keyboard.press("Shift+ArrowRight")
    tab.keyboard.press("Control+Shift+E")
    expect(tab.locator("dialog")).to_contain_text("Export: 2 pages")
    with tab.expect_request("**/api/v1/exports") as request:
        tab.keyboard.press("Enter")
    assert len(request.value.post_data_json["page_ids"]) == 2


def test_a_slash_searches_and_the_first_hit_is_one_key_away(served: Served, tab: Any):
    page = served.new_page()
    line = served.lines(page)[2]
    headers = {"If-Match": f'"{line["revision"]}"'}
    served.call("PUT", f"lines/{line['id']}/text", json={"text": "a Brummkreisel hums"}, headers=headers)
    open_collection(tab, served)
    tab.keyboard.press("/")
    tab.keyboard.type("brummkreisel")
    tab.keyboard.press("Enter")
    tab.locator(".hit:focus").wait_for()
    tab.keyboard.press("Enter")
    expect(tab.locator("textarea.field")).to_have_value("a Brummkreisel hums")


@pytest.mark.parametrize("keys", [("Control+Shift+F",), ("Escape", "/")])
def test_the_editor_searches_its_collection(served: Served, tab: Any, keys: tuple[str, ...]):
    tab.goto(f"{served.address}/#/page/{served.new_page()}")
    tab.locator("textarea.field:focus").wait_for()
    for key in keys:
        tab.keyboard.press(key)
    expect(tab).to_have_url(re.compile(f"#/search\\?collection={served.collection}$"))
    tab.get_by_role("searchbox").and_(tab.locator(":focus")).wait_for()


def test_a_slash_in_text_is_a_slash_and_elsewhere_a_question_mark_shows_the_keys(served: Served, tab: Any):
    tab.goto(f"{served.address}/#/page/{served.new_page()}")
    field = tab.locator("textarea.field:focus")
    field.wait_for()
    tab.keyboard.type("/?")
    assert field.input_value().startswith("/?")
    open_collection(tab, served)
    tab.keyboard.press("?")
    expect(tab.locator("dialog.keys-dialog")).to_contain_text("Search")


def test_what_is_deleted_comes_back_from_the_bin(served: Served, tab: Any):
    made = served.call("POST", "collections", json={"name": "Thrown away"})["id"]
    served.call("DELETE", f"collections/{made}")
    tab.goto(f"{served.address}/#/bin")
    tab.locator("li", has_text="Thrown away").get_by_role("button", name="Put back").press("Enter")
    expect(tab.locator("li", has_text="Thrown away")).to_have_count(0)
    assert served.call("GET", f"collections/{made}")["deleted"] is None


def test_a_page_that_is_deleted_comes_back_from_the_bin_or_goes_for_good(served: Served, tab: Any):
    collection = served.new_collection("Pages thrown away", 2)
    first, second = (page["id"] for page in served.call("GET", f"collections/{collection}/pages")["items"])
    for page in (first, second):
        served.call("PATCH", f"pages/{page}", json={"label": f"folio {page}"})
        served.call("DELETE", f"pages/{page}")
    tab.goto(f"{served.address}/#/bin")
    entries = {page: tab.locator("li", has_text=f"Pages thrown away · folio {page}") for page in (first, second)}
    entries[first].get_by_role("button", name="Put back").press("Enter")
    expect(entries[first]).to_have_count(0)
    assert served.call("GET", f"pages/{first}")["deleted"] is None
    entries[second].get_by_role("button", name="Delete for good").press("Enter")
    tab.get_by_role("dialog").get_by_role("button", name="Delete for good").press("Enter")
    expect(entries[second]).to_have_count(0)
    kept = [page["id"] for page in served.call("GET", f"collections/{collection}/pages")["items"]]
    assert kept == [first]


def test_lines_are_proofread_in_a_queue_by_keys(served: Served, tab: Any):
    tab.goto(f"{served.address}/#/collection/{served.collection}/review")
    field = tab.locator(".review-field:focus")
    field.wait_for(timeout=30_000)
    tab.keyboard.press("End")
    tab.keyboard.type(" proofread")
    tab.keyboard.press("Enter")
    expect(tab.locator(".review-card progress")).to_have_attribute("value", "1")
    found = served.call("GET", "search?q=proofread")["items"]
    tab.wait_for_timeout(1500)
    found = served.call("GET", "search?q=proofread")["items"]
    assert found and found[0]["checked"]


def test_where_nothing_is_to_be_proofread_the_errors_to_be_expected_are_told(served: Served, tab: Any):
    tab.route("**/review?*", lambda route: route.fulfill(json=route.fetch().json() | {"lines": []}))
    with tab.expect_response(lambda answer: "/review?" in answer.url) as answer:
        tab.goto(f"{served.address}/#/collection/{served.collection}/review")
    expect(tab.locator(".review-card")).to_contain_text("Nothing to proofread")
    rate = f"{100 * answer.value.json()['expected_error_before']:.1f}%"
    expect(tab.locator(".summary .hint")).to_contain_text(f"{rate} errors are expected")


def start_proofreading(served: Served, tab: Any) -> list[int]:
    """The first screen of proofreading; the lines of its queue."""
    with tab.expect_response(lambda answer: "/review?" in answer.url) as queue:
        tab.goto(f"{served.address}/#/collection/{served.collection}/review")
    tab.locator(".review-field:focus").wait_for(timeout=30_000)
    found: list[int] = queue.value.json()["lines"]
    return found


def test_what_is_typed_while_proofreading_is_saved_whatever_key_follows(served: Served, tab: Any):
    first, second, *_ = start_proofreading(served, tab)
    progress = tab.locator(".review-card progress")
    before = [served.call("GET", f"lines/{line}")["text"] for line in (first, second)]
    tab.keyboard.type("skipped ")
    tab.keyboard.press("ArrowDown")
    expect(progress).to_have_attribute("value", "1")
    tab.keyboard.type("left ")
    tab.keyboard.press("Shift+Enter")
    expect(progress).to_have_attribute("value", "0")
    tab.locator(".save-state[data-state=saved]").wait_for()
    lines = [served.call("GET", f"lines/{line}") for line in (first, second)]
    assert [line["text"] for line in lines] == [f"skipped {before[0]}", f"left {before[1]}"]
    assert [line["checked"] for line in lines] == [False, False]
    tab.keyboard.type("again ")
    tab.locator(".save-state[data-state=saved]").wait_for()
    assert served.call("GET", f"lines/{first}")["text"] == f"again skipped {before[0]}"
    expect(tab.locator(".review-card .note")).to_have_count(0)


def test_proofreading_stays_at_its_line_without_the_server_and_skips_what_was_deleted(served: Served, tab: Any):
    tab.route("**/api/v1/lines/*", lambda route: route.abort() if away else route.continue_())
    away: list[bool] = []
    fourth = start_proofreading(served, tab)[3]
    place = tab.locator(".review-card progress")
    tab.wait_for_timeout(1000)  # the next two are fetched ahead
    away.append(True)
    for at in ("1", "2"):
        tab.keyboard.press("ArrowDown")
        expect(place).to_have_attribute("value", at)
    tab.keyboard.press("ArrowDown")
    tab.locator(".toast.error").first.wait_for()
    expect(place).to_have_attribute("value", "2")
    line = served.call("GET", f"lines/{fourth}")
    version = served.call("GET", f"pages/{line['page_id']}")["version"]
    served.call("DELETE", f"lines/{fourth}", headers={"If-Match": f'"{version}"'})
    away.clear()
    tab.keyboard.press("ArrowDown")
    expect(place).to_have_attribute("value", "3")
    expect(tab.locator(f".review-strip[src*='lines/{fourth}/']")).to_have_count(0)


def test_what_is_typed_while_the_next_line_loads_is_for_that_line(served: Served, tab: Any):
    held: list[Any] = []
    is_slow = [True]

    def answer(route: Any) -> None:
        if is_slow and route.request.method == "GET":
            held.append(route)
        else:
            route.continue_()

    tab.route("**/api/v1/lines/*", answer)
    with tab.expect_response(lambda answer: "/review?" in answer.url) as queue:
        tab.goto(f"{served.address}/#/collection/{served.collection}/review")
    first, second, third, *_ = queue.value.json()["lines"]
    before = {line: served.call("GET", f"lines/{line}")["text"] for line in (first, second, third)}
    tab.wait_for_timeout(300)
    held.pop(0).continue_()
    tab.locator(".review-field:focus").wait_for(timeout=30_000)
    tab.keyboard.press("Enter")
    tab.keyboard.type("for the second ")
    tab.keyboard.press("Enter")
    tab.keyboard.type("for the third ")
    is_slow.clear()
    for route in held:
        route.continue_()
    expect(tab.locator(".review-card progress")).to_have_attribute("value", "2")
    expect(tab.locator(".review-field:focus")).to_have_value("for the third " + before[third])
    tab.locator(".save-state[data-state=saved]").wait_for()
    lines = [served.call("GET", f"lines/{line}") for line in (first, second, third)]
    assert [line["text"] for line in lines] == [
        before[first],
        "for the second " + before[second],
        "for the third " + before[third],
    ]
    assert [line["checked"] for line in lines] == [True, True, False]


def test_a_conflict_is_decided_while_proofreading(served: Served, tab: Any):
    first = start_proofreading(served, tab)[0]
    line = served.call("GET", f"lines/{first}")
    change(served, line, "theirs")
    tab.keyboard.press("Control+a")
    tab.keyboard.type("mine")
    note = tab.locator(".review-card .note")
    expect(note).to_contain_text("theirs")
    tab.get_by_role("button", name="Keep this text").press("Enter")
    tab.locator(".save-state[data-state=saved]").wait_for()
    expect(tab.locator(".review-field")).to_have_value("theirs")
    assert served.call("GET", f"lines/{first}")["text"] == "theirs"


def test_a_page_is_printed_with_its_text(served: Served, tab: Any):
    page = served.new_page()
    tab.goto(f"{served.address}/#/page/{page}/print")
    expect(tab.locator(".print-line")).to_have_count(len(served.lines(page)))


def leave(tab: Any) -> None:
    tab.evaluate("location.hash = '#/bin'")
    tab.get_by_role("heading", name="Bin").first.wait_for()


def test_a_print_that_is_left_asks_for_no_more_pages(served: Served, tab: Any):
    collection = served.new_collection("Long book", 3)
    document = served.call("GET", f"collections/{collection}/documents")["items"][0]["id"]
    held: list[Any] = []
    tab.route("**/pages/*/lines", lambda route: held.append(route))
    tab.goto(f"{served.address}/#/document/{document}/print")
    tab.locator(".print-bar, .bar").first.wait_for()
    tab.wait_for_timeout(300)
    leave(tab)
    assert len(held) == 1
    held[0].continue_()
    tab.wait_for_timeout(700)
    assert len(held) == 1


def test_a_lesson_that_is_left_is_not_asked_about_again(served: Served, tab: Any):
    asked: list[Any] = []

    def hold_the_second(route: Any) -> None:
        asked.append(route)
        if len(asked) != 2:
            route.fulfill(json={"items": [RUNNING], "next": None})

    tab.route("**/jobs?*kind=train*", hold_the_second)
    with tab.expect_request("**/jobs?*kind=train*"):
        tab.goto(f"{served.address}/#/collection/{served.collection}/teach")
    with tab.expect_request("**/jobs?*kind=train*"):
        tab.locator("#teach-stop").wait_for()
    leave(tab)
    asked[1].fulfill(json={"items": [RUNNING], "next": None})
    tab.wait_for_timeout(3000)
    assert len(asked) == 2


RUNNING = {"id": 999, "kind": "train", "state": "running", "cancelled": False, "progress": None, "seconds_left": None}


def test_a_page_that_is_left_before_its_image_is_shown_loads_none(served: Served, tab: Any):
    page = served.new_page()
    held: list[Any] = []
    images: list[str] = []
    tab.on("request", lambda request: images.append(request.url) if f"/pages/{page}/image" in request.url else None)
    tab.route("**/openseadragon.min.js", lambda route: held.append(route))
    tab.goto(f"{served.address}/#/page/{page}")
    tab.wait_for_timeout(1000)
    leave(tab)
    held[0].continue_()
    tab.wait_for_timeout(1000)
    assert images == []
