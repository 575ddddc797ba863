"""No text is lost: others edit too, servers and networks go away, tabs are closed, storage is denied."""

import re
from typing import Any

import httpx
import pytest
from browsing import EditorDriver, Served, change, expect, findings


def test_the_change_of_another_is_shown_at_once(editor: EditorDriver):
    editor.open()
    change(editor.served, editor.served.lines(editor.page)[3], "theirs")
    editor.tab.locator("li.line", has_text="theirs").wait_for()


def test_undo_leaves_what_another_has_written_since(editor: EditorDriver):
    editor.open()
    editor.type("mine ")
    change(editor.served, editor.saved()[0], "theirs")
    editor.tab.locator("li.line.active", has_text="theirs").wait_for()
    editor.press("Control+z")
    assert editor.value == "theirs"
    editor.press("ArrowDown")
    assert editor.saved()[0]["text"] == "theirs"


@pytest.mark.parametrize(("choice", "kept"), [("Keep this text", "theirs"), ("Use mine instead", "mine")])
def test_two_texts_of_a_line_are_both_shown_and_a_person_decides(editor: EditorDriver, choice: str, kept: str):
    editor.open()
    editor.tab.context.set_offline(True)
    editor.press("Control+a")
    editor.type("mine")
    editor.tab.locator(".save-state[data-state=offline]").wait_for()
    change(editor.served, editor.served.lines(editor.page)[0], "theirs")
    editor.tab.context.set_offline(False)
    note = editor.tab.locator("li.line .note")
    note.wait_for()
    assert "theirs" in note.inner_text()
    assert editor.value == "mine"
    assert editor.served.lines(editor.page)[0]["text"] == "theirs"
    editor.tab.get_by_role("button", name=choice).press("Enter")
    assert editor.saved()[0]["text"] == kept
    assert editor.value == kept
    if kept == "theirs":  # one's own can be had back
        editor.press("Control+z")
        assert editor.saved()[0]["text"] == "mine"


def test_an_answer_that_is_lost_makes_no_conflict_with_oneself(editor: EditorDriver):
    editor.open()
    lost: list[int] = []

    def lose(route: Any) -> None:
        if len(lost) < 2:
            lost.append(route.fetch().status)
            route.abort()
        else:
            route.continue_()

    editor.tab.route("**/api/v1/lines/*/text", lose)
    editor.type("sent ")
    editor.wait_until(lambda: bool(lost))
    editor.press("Home")
    editor.type("and more ")
    assert editor.saved()[0]["text"].startswith("and more sent ")
    assert lost == [200, 409]
    expect(editor.tab.locator("li.line .note")).to_have_count(0)


def test_lines_that_come_late_leave_what_was_saved_meanwhile(editor: EditorDriver):
    editor.open()
    held: list[Any] = []
    editor.tab.route(f"**/api/v1/pages/{editor.page}/lines", lambda route: held.append((route, route.fetch())))
    other = editor.served.lines(editor.page)[-1]
    version = editor.served.call("GET", f"pages/{editor.page}")["version"]
    editor.served.call("DELETE", f"lines/{other['id']}", headers={"If-Match": f'"{version}"'})
    editor.wait_until(lambda: bool(held))  # asked for, as the layout has changed
    editor.type("saved ")
    before = editor.saved()
    assert before[0]["text"].startswith("saved ")
    for route, answer in held:
        route.fulfill(response=answer)
    editor.wait_for_lines(len(before))
    assert editor.value.startswith("saved ")
    editor.type("and more ")
    assert editor.saved()[0]["text"].startswith("saved and more ")
    expect(editor.tab.locator("li.line .note")).to_have_count(0)


def test_edits_made_offline_are_sent_when_the_server_answers_again(editor: EditorDriver):
    editor.open()
    editor.tab.context.set_offline(True)
    editor.type("A")
    editor.press("Enter")
    editor.type("B")
    editor.press("Enter")
    editor.tab.locator(".save-state[data-state=offline]").wait_for()
    editor.tab.context.set_offline(False)
    first, second, *_ = editor.saved()
    assert (first["text"][0], second["text"][0]) == ("A", "B")
    assert first["checked"] and second["checked"]


def test_a_tab_closed_in_mid_edit_loses_nothing(served: Served, context: Any):
    page = served.new_page()
    tab = context.new_page()
    editor = EditorDriver(tab, served, page).open()
    tab.context.set_offline(True)
    editor.type("unsent ")
    with tab.expect_event("close"):
        tab.close(run_before_unload=True)  # as a person closes it
    context.set_offline(False)
    again = EditorDriver(context.new_page(), served, page).open()
    again.wait_until(lambda: again.value.startswith("unsent "))
    assert again.saved()[0]["text"].startswith("unsent ")


def test_a_tab_closed_just_after_typing_has_it_saved(served: Served, context: Any):
    page = served.new_page()
    tab = context.new_page()
    EditorDriver(tab, served, page).open().type("quick ")
    with tab.expect_event("close"):
        tab.close(run_before_unload=True)
    again = EditorDriver(context.new_page(), served, page).open()
    again.wait_until(lambda: again.saved()[0]["text"].startswith("quick "))


NO_LOCKS = "Object.defineProperty(navigator, 'locks', {value: undefined})"
"""As over plain HTTP."""
KEPT = "JSON.stringify(localStorage).includes('unsent')"


def test_without_locks_a_tab_leaves_alone_what_another_is_editing(served: Served, context: Any):
    context.add_init_script(NO_LOCKS)
    page = served.new_page()
    one = EditorDriver(context.new_page(), served, page).open()
    other = EditorDriver(context.new_page(), served, page).open()
    one.tab.route("**/api/v1/lines/*/text", lambda route: route.abort())
    one.type("unsent ")
    one.tab.locator(".save-state[data-state=offline]").wait_for()
    other.tab.wait_for_timeout(2000)
    assert other.tab.evaluate(KEPT)
    assert not served.lines(page)[0]["text"].startswith("unsent ")
    one.tab.unroute("**/api/v1/lines/*/text")
    one.press("Control+s")
    assert one.saved()[0]["text"].startswith("unsent ")
    expect(one.tab.locator("li.line .note")).to_have_count(0)


def test_without_locks_an_edit_is_taken_up_once_its_tab_is_left_or_long_silent(served: Served, context: Any):
    context.add_init_script(NO_LOCKS)
    page = served.new_page()
    first, second, *_ = served.lines(page)
    one = EditorDriver(context.new_page(), served, page).open()
    one.tab.route("**/api/v1/lines/*/text", lambda route: route.abort())
    one.type("unsent ")
    one.tab.locator(".save-state[data-state=offline]").wait_for()
    one.tab.unroute("**/api/v1/lines/*/text")
    one.tab.reload()
    one.wait_until(lambda: one.saved()[0]["text"] == "unsent " + first["text"])
    edit = {"line": second["id"], "page": page, "text": "silent", "checked": False, "user": None}
    edit |= {"revision": second["revision"], "base": second["text"], "sent": [], "kept": 1}
    one.tab.evaluate("edit => localStorage.setItem(`quill.edit.${edit.line}.dead`, JSON.stringify(edit))", edit)
    one.tab.reload()
    one.wait_until(lambda: one.saved()[1]["text"] == "silent")


def test_an_edit_left_by_a_tab_waits_for_that_of_another_on_the_same_line(editor: EditorDriver):
    editor.open()
    line = editor.served.lines(editor.page)[0]
    editor.tab.context.set_offline(True)
    editor.press("Control+a")
    editor.type("mine")
    editor.tab.locator(".save-state[data-state=offline]").wait_for()
    edit = {"line": line["id"], "page": editor.page, "text": "left behind", "checked": False, "user": None}
    edit |= {"revision": line["revision"], "base": line["text"], "sent": [], "kept": 1}
    keep = """edit => {
        localStorage.setItem(`quill.edit.${edit.line}.dead`, JSON.stringify(edit));
        dispatchEvent(new StorageEvent("storage", {key: "quill.edit.", newValue: "{}"}));
    }"""
    editor.tab.evaluate(keep, edit)
    editor.tab.wait_for_timeout(500)
    editor.tab.context.set_offline(False)
    note = editor.tab.locator("li.line .note")
    expect(note).to_contain_text("mine")
    assert editor.served.lines(editor.page)[0]["text"] == "mine"
    editor.tab.get_by_role("button", name="Use mine").press("Enter")
    assert editor.saved()[0]["text"] == "left behind"


def test_a_browser_that_denies_storage_edits_all_the_same(editor: EditorDriver):
    deny = (
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('denied', 'SecurityError') }})"
    )
    editor.tab.add_init_script(deny)
    editor.open()
    editor.type("kept ")
    assert editor.saved()[0]["text"].startswith("kept ")


def test_keys_that_need_the_server_say_so_while_it_is_away_and_leave_the_text_to_edit(editor: EditorDriver):
    editor.open()
    header = editor.tab.locator("header.bar").bounding_box()
    editor.tab.context.set_offline(True)
    editor.press("ArrowDown", "Home", *["ArrowRight"] * 5)
    for keys in (("Alt+Enter",), ("F9",), ("Control+Shift+E",), ("F4",)):
        editor.press(*keys)
        message = editor.tab.locator(".toast.error")
        expect(message).to_have_text("The server cannot be reached.")
        message.get_by_role("button").press("Enter")
        editor.tab.locator("textarea.field").focus()
    editor.type("x")
    assert editor.value[5] == "x"
    assert editor.tab.locator("header.bar").bounding_box() == header  # nothing has scrolled it away
    editor.tab.context.set_offline(False)
    assert editor.saved()[1]["text"][5] == "x"


def pages_of(served: Served, name: str, number: int) -> list[int]:
    collection = served.new_collection(name, number)
    return [one["id"] for one in served.call("GET", f"collections/{collection}/pages")["items"]]


def test_keys_pressed_while_the_next_page_loads_wait_for_it_in_their_order(served: Served, tab: Any):
    first, second, third = pages_of(served, "Slow pages", 3)
    held: list[Any] = []
    for page in (second, third):
        tab.route(f"**/api/v1/pages/{page}/lines", lambda route: held.append(route))
    editor = EditorDriver(tab, served, first).open()
    editor.press("Control+End", "Enter")
    editor.type("where? ")  # ? and / are no keys of the screen here
    editor.press("Backspace", "!", "Enter")
    editor.type("the second ")
    editor.press("PageDown")
    editor.type("and the third ")
    editor.wait_until(lambda: len(held) == 1)
    held[0].continue_()
    editor.wait_until(lambda: len(held) == 2)
    editor.press("Enter")
    held[1].continue_()
    tab.locator("textarea.field:focus").wait_for()
    editor.press("Shift+Enter")
    assert editor.value.startswith("and the third ")
    editor.saved()
    above, below, *_ = served.lines(second)
    assert above["text"].startswith("where?!") and above["checked"]
    assert below["text"].startswith("the second ") and not below["checked"]
    assert [line["checked"] for line in served.lines(third)[:2]] == [True, False]


def test_keys_pressed_after_leaving_a_page_that_loads_take_no_line_as_right(served: Served, tab: Any):
    first, second = pages_of(served, "Left before it came", 2)
    held: list[Any] = []
    tab.route(f"**/api/v1/pages/{second}/lines", lambda route: held.append(route))
    editor = EditorDriver(tab, served, first).open()
    editor.press("PageDown", "x", "Escape", "Enter", "y")
    editor.wait_until(lambda: len(held) == 1)
    held[0].continue_()
    tab.locator("li.line .text", has_text="x").first.wait_for()
    tab.locator("header.bar :focus").wait_for()
    editor.saved()
    line = served.lines(second)[0]
    assert (line["text"][0], line["checked"]) == ("x", False)


def test_keys_pressed_as_a_page_is_opened_from_its_collection_wait_for_it(served: Served, tab: Any):
    collection = served.new_collection("Opened in haste", 1)
    (page,) = (one["id"] for one in served.call("GET", f"collections/{collection}/pages")["items"])
    editor = EditorDriver(tab, served, page)
    tab.goto(f"{served.address}/#/collection/{collection}")
    tab.locator(".cell").wait_for()
    editor.press("Enter")
    editor.type("at once ")
    tab.locator("textarea.field:focus").wait_for()
    assert editor.saved()[0]["text"].startswith("at once ")


def test_keys_pressed_for_a_page_that_does_not_come_are_for_no_other(served: Served, context: Any):
    tab = context.new_page()
    first, second = pages_of(served, "Pages that fail", 2)
    tab.route(f"**/api/v1/pages/{second}/lines", lambda route: route.fulfill(status=404, json={"detail": "gone"}))
    editor = EditorDriver(tab, served, first).open()
    before = served.lines(first)
    editor.press("PageDown", "x")
    tab.get_by_role("heading", name="This does not exist (any more)").wait_for()
    editor.press("Tab")
    tab.locator("button:focus").wait_for()
    tab.go_back()
    tab.locator("textarea.field:focus").wait_for()
    assert editor.value == before[0]["text"]


def test_two_tabs_on_one_page_see_each_other(served: Served, context: Any):
    page = served.new_page()
    one = EditorDriver(context.new_page(), served, page).open()
    other = EditorDriver(context.new_page(), served, page).open()
    other.press("Control+End")
    one.type("from one ")
    other.tab.locator("li.line", has_text="from one ").wait_for()
    assert one.saved()[0]["text"].startswith("from one ")


def test_a_server_killed_in_mid_edit_gets_the_edit_when_it_is_back(
    tmp_path_factory: pytest.TempPathFactory, reading: Any, tab: Any
):
    from browsing import seed

    served = Served(tmp_path_factory.mktemp("killed") / "data")
    seed(served.data, reading, 1)
    served.start()
    try:
        editor = EditorDriver(tab, served, 1).open()
        editor.type("before ")
        editor.saved()
        served.kill()
        editor.press("Enter")
        editor.type("during ")
        tab.locator(".save-state[data-state=offline]").wait_for()
        served.start()
        tab.locator(".save-state[data-state=saved]").wait_for(timeout=60_000)
        first, second, *_ = served.lines(1)
        assert first["text"].startswith("before ") and first["checked"]
        assert second["text"].startswith("during ")
    finally:
        served.stop()


def watchers(served: Served) -> int:
    """How many streams of events the server has open."""
    metrics = httpx.get(f"{served.address}/metrics").text
    return int(float(re.findall(r"^quillread_watchers (.*)$", metrics, re.MULTILINE)[0]))


HIDDEN = """
    window.isHidden = true;
    Object.defineProperty(document, 'visibilityState', {get: () => window.isHidden ? 'hidden' : 'visible'});
"""
SHOW = "() => { window.isHidden = false; document.dispatchEvent(new Event('visibilitychange', {bubbles: true})); }"


def test_a_page_that_was_left_gives_its_connection_back_and_takes_it_up_when_one_returns(editor: EditorDriver):
    before = watchers(editor.served)
    editor.open()
    editor.wait_until(lambda: watchers(editor.served) == before + 1)
    # As a browser that keeps pages to come back to: its connections are few, and those of pages that are left count.
    editor.tab.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    editor.wait_until(lambda: watchers(editor.served) == before)
    change(editor.served, editor.served.lines(editor.page)[3], "theirs")
    editor.tab.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    editor.tab.locator("li.line", has_text="theirs").wait_for()


def test_a_tab_that_is_opened_behind_others_takes_no_connection_until_it_is_looked_at(editor: EditorDriver):
    before = watchers(editor.served)
    editor.tab.add_init_script(HIDDEN)
    editor.open()
    editor.tab.wait_for_timeout(500)
    assert watchers(editor.served) == before
    change(editor.served, editor.served.lines(editor.page)[3], "theirs")
    editor.tab.evaluate(SHOW)
    editor.tab.locator("li.line", has_text="theirs").wait_for()


def test_a_collection_shows_what_happened_while_its_tab_was_behind_others(served: Served, tab: Any):
    collection = served.new_collection("Behind others", 2)
    tab.add_init_script(HIDDEN)
    tab.goto(f"{served.address}/#/collection/{collection}")
    expect(tab.locator(".cell")).to_have_count(2)
    served.call("DELETE", f"pages/{served.call('GET', f'collections/{collection}/pages')['items'][0]['id']}")
    tab.evaluate(SHOW)
    expect(tab.locator(".cell")).to_have_count(1)


def test_an_image_that_fails_to_load_leaves_the_text_to_edit(editor: EditorDriver):
    editor.tab.route("**/pages/*/image*", lambda route: route.abort())
    editor.open()
    editor.tab.locator(".image-fault").wait_for()
    editor.type("blind ")
    assert editor.saved()[0]["text"].startswith("blind ")
    editor.tab.unroute("**/pages/*/image*")
    editor.tab.locator(".image-fault").get_by_role("button").press("Enter")
    editor.tab.locator(".image-fault").wait_for(state="hidden")


def delete_while_edited(editor: EditorDriver) -> None:
    """Type into the first line, which another deletes meanwhile."""
    editor.open()
    line = editor.served.lines(editor.page)[0]
    editor.tab.context.set_offline(True)
    editor.type("orphan ")
    editor.tab.locator(".save-state[data-state=offline]").wait_for()
    version = editor.served.call("GET", f"pages/{editor.page}")["version"]
    editor.served.call("DELETE", f"lines/{line['id']}", headers={"If-Match": f'"{version}"'})
    editor.tab.context.set_offline(False)
    editor.tab.locator(".save-state[data-state=refused]").wait_for()


def test_a_line_deleted_by_another_keeps_the_text_to_copy(editor: EditorDriver, context: Any):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    delete_while_edited(editor)
    editor.wait_for_lines(len(editor.served.lines(editor.page)))  # the line is not among them
    editor.press("Escape", "Enter")
    expect(editor.tab.locator(".open-edits .note")).to_contain_text("deleted")
    editor.tab.get_by_role("button", name="Copy the text").press("Enter")
    editor.wait_until(lambda: editor.tab.evaluate("navigator.clipboard.readText()").startswith("orphan "))
    assert findings(editor.tab) == []
    editor.tab.get_by_role("button", name="Discard my edit").press("Enter")
    editor.tab.locator("dialog").wait_for(state="detached")
    editor.saved()


def test_edits_that_need_somebody_are_reached_from_every_page(served: Served, editor: EditorDriver):
    delete_while_edited(editor)
    other = EditorDriver(editor.tab, served, served.new_page()).open()
    editor.tab.locator(".save-state[data-state=refused]").wait_for()
    other.press("Escape", "Enter")
    expect(editor.tab.locator(".open-edits .their-text")).to_contain_text("orphan ")
    editor.tab.get_by_role("link", name="Go to the line").press("Enter")
    editor.tab.locator("dialog").wait_for(state="detached")
    expect(editor.tab).to_have_url(re.compile(f"#/page/{editor.page}[?]line="))


def test_a_collection_deleted_meanwhile_keeps_what_is_typed(served: Served, tab: Any):
    collection = served.new_collection("Short-lived letters", 1)
    (page,) = (one["id"] for one in served.call("GET", f"collections/{collection}/pages")["items"])
    editor = EditorDriver(tab, served, page).open()
    served.call("DELETE", f"collections/{collection}")
    tab.locator(".page-status .banner.bad").wait_for()
    editor.type("too late ")
    tab.locator(".save-state[data-state=refused]").wait_for()
    expect(tab.locator("li.line .note")).to_contain_text("deleted")
    assert editor.value.startswith("too late ")
    served.call("POST", f"collections/{collection}/restore")
    tab.locator(".page-status .banner.bad").wait_for(state="hidden")
    editor.type("not ")
    assert editor.saved()[0]["text"].startswith("too late not ")


def test_a_collection_deleted_while_its_pages_are_shown_leads_back(served: Served, tab: Any):
    collection = served.new_collection("Short-lived pages", 1)
    tab.goto(f"{served.address}/#/collection/{collection}")
    tab.locator(".cell").wait_for()
    served.call("DELETE", f"collections/{collection}")
    tab.locator(".card").first.wait_for()
    expect(tab.locator(".card", has_text="Short-lived pages")).to_have_count(0)


HIDES = """
window.isHidden = %s;
Object.defineProperty(document, "visibilityState", { get: () => (window.isHidden ? "hidden" : "visible") });
window.hide = (is) => ((window.isHidden = is), dispatchEvent(new Event("visibilitychange")));
const later = window.setTimeout;
window.setTimeout = (run, wait, ...more) => later(run, wait === 15000 ? 10 : wait, ...more);
"""
"""A tab that is hidden when a test says so, and gives its connection back at once."""


def streams(tab: Any) -> list[str]:
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url) if "/api/v1/events" in request.url else None)
    return asked


def test_a_tab_that_was_not_looked_at_shows_what_it_has_missed(served: Served, tab: Any):
    collection = served.new_collection("Looked away", 2)
    tab.add_init_script(HIDES % "false")
    asked = streams(tab)
    tab.goto(f"{served.address}/#/collection/{collection}")
    expect(tab.locator(".cell")).to_have_count(2)
    with tab.expect_event("requestfailed", lambda request: "/api/v1/events" in request.url):
        tab.evaluate("hide(true)")
    page = served.call("GET", f"collections/{collection}/pages")["items"][0]["id"]
    served.call("DELETE", f"pages/{page}")
    tab.evaluate("hide(false)")
    expect(tab.locator(".cell")).to_have_count(1)
    assert len(asked) == 2


def test_a_tab_that_is_opened_behind_takes_no_connection_until_it_is_looked_at(served: Served, tab: Any):
    collection = served.new_collection("Behind", 2)
    tab.add_init_script(HIDES % "true")
    asked = streams(tab)
    tab.goto(f"{served.address}/#/collection/{collection}")
    expect(tab.locator(".cell")).to_have_count(2)
    assert asked == []
    page = served.call("GET", f"collections/{collection}/pages")["items"][0]["id"]
    served.call("DELETE", f"pages/{page}")
    tab.evaluate("hide(false)")
    expect(tab.locator(".cell")).to_have_count(1)


def test_a_document_deleted_meanwhile_is_told(served: Served, tab: Any):
    page = served.new_page()
    document = served.call("GET", f"pages/{page}")["document_id"]
    mine = served.call("POST", f"collections/{served.collection}/documents", json={"name": "Short-lived"})["id"]
    served.call("PATCH", f"pages/{page}", json={"document_id": mine})
    EditorDriver(tab, served, page).open()
    served.call("DELETE", f"documents/{mine}")
    tab.locator(".page-status .banner.bad").wait_for()
    assert document != mine


def test_a_page_deleted_before_its_events_were_heard_is_told(served: Served, tab: Any):
    page = served.new_page()
    waiting: list[Any] = []
    tab.route("**/api/v1/events*", lambda route: waiting.append(route))
    EditorDriver(tab, served, page).open()
    served.call("DELETE", f"pages/{page}")
    tab.wait_for_timeout(500)
    waiting[0].continue_()
    tab.locator(".page-status .banner.bad").wait_for()


def test_a_page_of_five_thousand_lines_is_edited_to_its_end(served: Served, tab: Any):
    editor = EditorDriver(tab, served, served.large[5000]).open()
    editor.wait_for_lines(5000)
    editor.press("Control+End")
    editor.type("the last ")
    assert editor.saved()[-1]["text"].startswith("the last ")
    assert editor.place == 4999
    editor.press("F8", "F8")  # strips: pictures come as they are looked at
    editor.wait_for_lines(5000)
    editor.press("Control+Home")
    editor.type("the first ")
    assert editor.saved()[0]["text"].startswith("the first ")
