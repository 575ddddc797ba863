"""The page is for everyone: no finding of axe, four languages, light and dark, keys alone, little motion on wish."""

import re
from typing import Any

import pytest
from browsing import SHOTS, EditorDriver, Served, expect, findings

SCREENS = {
    "collections": ("", ".card"),
    "collection": ("collection/1", ".cell"),
    "editor": ("page/1", "textarea.field"),
    "search": ("search?q=joueur", ".hit"),
    "review": ("collection/1/review", ".review-field"),
    "teach": ("collection/1/teach", ".numbers"),
    "print": ("page/1/print", ".print-line"),
    "bin": ("bin", "main"),
    "people": ("collection/1/people", ".banner"),
    "account": ("account", "main h2"),
    "link": ("link", "main h1"),
}
SIZES = {"desk": (1280, 800), "tablet": (820, 1180)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing(served: Served, browser: Any, screen: str, scheme: str):
    width, height = SIZES["desk" if scheme == "light" else "tablet"]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, locale="en")
    path, shown = SCREENS[screen]
    try:
        tab = context.new_page()
        tab.goto(f"{served.address}/#/{path}")
        tab.locator(shown).first.wait_for()
        tab.wait_for_timeout(600)
        SHOTS.mkdir(exist_ok=True)
        tab.screenshot(path=SHOTS / f"{screen}-{scheme}-{width}.png")
        assert findings(tab) == []
    finally:
        context.close()


def test_axe_finds_nothing_while_jobs_are_running(served: Served, tab: Any):
    job = {"id": 1, "kind": "read", "title": "", "collection_id": 1, "document_id": None, "user_name": ""}
    job |= {"total": 3, "done": 1, "failed": 0, "cancelled": False, "fault": None, "result": None, "progress": None}
    job |= {"created": "2026-01-01T00:00:00", "seconds_left": None, "state": "running"}
    tab.route("**/api/v1/jobs?*", lambda route: route.fulfill(json={"items": [job], "next": None}))
    tab.goto(f"{served.address}/#/")
    tab.get_by_role("button", name="1 job is running: 1 of 3").wait_for()
    assert findings(tab) == []


@pytest.mark.parametrize("keys", [("F1",), ("F4",), ("F9",), ("F8",), ("F8", "F8")], ids=lambda keys: "-".join(keys))
def test_axe_finds_nothing_in_what_keys_open(editor: EditorDriver, keys: tuple[str, ...]):
    editor.open()
    editor.press(*keys)
    editor.tab.wait_for_timeout(600)
    editor.tab.screenshot(path=SHOTS / f"editor-{'-'.join(keys)}.png")
    assert findings(editor.tab) == []


def test_axe_finds_nothing_in_the_dialogs_of_a_collection(served: Served, tab: Any):
    tab.goto(f"{served.address}/#/collection/1")
    tab.locator(".cell").first.wait_for()
    tab.keyboard.press(" ")
    for name in ("Move…", "Activity"):
        tab.get_by_role("button", name=name).first.press("Enter")
        tab.locator("dialog[open]").wait_for()
        assert findings(tab) == []
        tab.keyboard.press("Escape")
        tab.locator("dialog").wait_for(state="detached")


def test_long_names_break_and_push_nothing_out_of_sight(served: Served, tab: Any):
    name = "W" * 190
    made = served.new_collection(name, 1)
    served.call("POST", f"collections/{made}/links", json={"name": "W" * 80})
    (page,) = served.call("GET", f"collections/{made}/pages")["items"]
    job = served.call("POST", "exports", json={"document_ids": [page["document_id"]], "format": "txt"})
    assert name[:90] in job["title"]
    gone = served.call("POST", "collections", json={"name": name})["id"]
    served.call("DELETE", f"collections/{gone}")
    too_wide = "() => document.documentElement.scrollWidth > innerWidth"
    for path, shown in {
        "": ".card",
        f"collection/{made}": ".cell",
        f"page/{page['id']}": "textarea.field",
        f"search?q=joueur&collection={made}": ".hit",
        f"collection/{made}/people": ".danger-text",
        f"collection/{made}/teach": ".numbers",
        "bin": "li strong",
        f"page/{page['id']}/print": ".print-line",
    }.items():
        tab.goto(f"{served.address}/#/{path}")
        tab.locator(shown).first.wait_for()
        assert not tab.evaluate(too_wide), path
    tab.goto(f"{served.address}/#/collection/{made}")
    tab.locator(".cell").wait_for()
    tab.keyboard.press(" ")
    for button in ("Move…", "Activity"):
        tab.get_by_role("button", name=button).first.press("Enter")
        tab.locator("dialog[open]").wait_for()
        tab.wait_for_timeout(300)
        tab.screenshot(path=SHOTS / f"long-{button[:4]}.png")
        assert not tab.locator("dialog").evaluate("dialog => dialog.scrollWidth > dialog.clientWidth"), button
        tab.keyboard.press("Escape")
        tab.locator("dialog").wait_for(state="detached")


@pytest.mark.parametrize(
    ("locale", "title"),
    [("fr-CA", "Collections"), ("de-AT", "Sammlungen"), ("es-MX", "Colecciones"), ("pl", "Collections")],
)
def test_the_page_speaks_the_language_of_the_browser(served: Served, browser: Any, locale: str, title: str):
    context = browser.new_context(locale=locale)
    try:
        tab = context.new_page()
        tab.goto(served.address)
        tab.get_by_role("heading", name=title, level=2).wait_for()
        language = tab.evaluate("document.documentElement.lang")
        assert language == (locale[:2] if locale != "pl" else "en")
    finally:
        context.close()


def test_another_language_is_chosen_by_keys_and_kept(served: Served, context: Any):
    tab = context.new_page()
    tab.goto(served.address)
    tab.get_by_role("button", name="Language and appearance").press("Enter")
    tab.keyboard.press("End")
    assert tab.evaluate("document.activeElement.textContent") == "Español"
    tab.keyboard.press("Enter")
    tab.get_by_role("heading", name="Colecciones").wait_for()
    tab.reload()
    tab.get_by_role("heading", name="Colecciones").wait_for()


def test_the_image_moves_at_once_for_those_who_wish_less_motion(served: Served, browser: Any):
    context = browser.new_context(reduced_motion="reduce", viewport={"width": 1280, "height": 800})
    try:
        editor = EditorDriver(context.new_page(), served, served.new_page()).open()
        editor.tab.locator(".stage canvas").first.wait_for()
        editor.tab.wait_for_timeout(800)
        editor.press("Control+End")
        editor.tab.wait_for_timeout(120)
        first = editor.tab.locator(".overlay g").first.get_attribute("transform")
        editor.tab.wait_for_timeout(600)
        assert editor.tab.locator(".overlay g").first.get_attribute("transform") == first
    finally:
        context.close()


def test_every_control_shows_that_it_has_the_focus(served: Served, tab: Any):
    tab.goto(f"{served.address}/#/collection/1")
    tab.locator(".cell").first.wait_for()
    for _ in range(12):
        tab.keyboard.press("Tab")
        outline = tab.evaluate(
            "(() => { const e = document.activeElement; const s = getComputedStyle(e);"
            " return [e.tagName + '.' + e.className, s.outlineStyle, s.outlineWidth,"
            " !!document.querySelector('.cell.focused')]; })()"
        )
        name, style, width, cell = outline
        if name.startswith("BODY"):
            return  # the end of the page
        assert (style != "none" and re.match(r"[1-9]", width)) or (cell and "grid" in name), name


def test_counts_are_written_as_the_language_of_the_page_does(served: Served, tab: Any):
    tab.add_init_script("localStorage.setItem('quill.language', 'de')")  # in a browser that is English
    tab.goto(f"{served.address}/#/collection/{served.crowd}")
    expect(tab.locator("[data-filter=all] .count")).to_have_text("10.000")
    tab.route("**/collections/1/review?*", with_many_lines)
    tab.goto(f"{served.address}/#/collection/1/review")
    expect(tab.get_by_text(re.compile(r"^1 von \d\.\d{3}$"))).to_be_visible()


def with_many_lines(route: Any) -> None:
    review = route.fetch().json()
    route.fulfill(json=review | {"lines": (review["lines"] * 2000)[:2000]})


def test_the_editor_says_once_which_page_it_is(editor: EditorDriver):
    editor.open()
    expect(editor.tab.locator(".page-label")).to_have_text(re.compile(r"^Page \d+ of \d+$"))
    editor.served.call("PATCH", f"pages/{editor.page}", json={"label": "12r"})
    editor.tab.reload()
    expect(editor.tab.locator(".page-label")).to_have_text(re.compile(r"^12r \(page \d+ of \d+\)$"))
