"""Correcting a page with the keyboard alone, against the real server with what the built-in model has read."""

import itertools
import re
from typing import Any

import pytest
from browsing import EditorDriver, Served, change, expect

DOUBT = 0.75


def test_enter_takes_a_line_as_right_and_goes_to_the_next(editor: EditorDriver):
    editor.open()
    assert editor.place == 0
    editor.press("Enter")
    assert editor.place == 1
    first, second, *_ = editor.saved()
    assert first["checked"] and first["kind"] == "person"
    assert not second["checked"]


def test_shift_enter_goes_back_and_arrows_go_by_line(editor: EditorDriver):
    editor.open()
    editor.press("ArrowDown", "ArrowDown", "Shift+Enter")
    assert editor.place == 1
    editor.press("Control+End")
    assert editor.place == len(editor.served.lines(editor.page)) - 1


def test_what_is_typed_is_saved_without_further_keys(editor: EditorDriver):
    editor.open()
    editor.press("ArrowDown", "End")
    editor.type(" Amen")
    assert editor.saved()[1]["text"].endswith(" Amen")


def test_a_space_at_the_end_stays_when_it_is_saved_in_a_pause(editor: EditorDriver):
    editor.open()
    editor.press("End")
    before = editor.value
    editor.type(" and ")
    assert editor.saved()[0]["text"] == before + " and"
    assert editor.value == before + " and "
    editor.type("so")
    assert editor.saved()[0]["text"] == before + " and so"


def doubts_of(lines: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """Words in doubt with the places of their lines."""
    return [(i, word) for i, line in enumerate(lines) for word in line["words"] if word["confidence"] < DOUBT]


def test_tab_and_f2_select_the_next_word_in_doubt_so_that_typing_replaces_it(editor: EditorDriver):
    lines = editor.served.lines(editor.page)
    place, word = doubts_of(lines)[0]
    editor.open()
    editor.press("Tab", "F2")
    assert editor.place == place
    editor.type("Kaffee")
    text = lines[place]["text"]
    assert editor.saved()[place]["text"] == text[: word["start"]] + "Kaffee" + text[word["end"] :]


def give(editor: EditorDriver, line: dict[str, Any], text: str, *readings: str) -> None:
    """Let a line be one that a machine has read, unsure of its second word."""
    start = text.index(" ") + 1
    words = [{"text": w, "start": text.index(w), "end": text.index(w) + len(w), "polygon": []} for w in text.split()]
    words = [{**word, "confidence": 0.3 if word["start"] == start else 0.99} for word in words]
    alternatives = [{"text": other, "confidence": 0.1} for other in readings]
    given = {"text": text, "words": words, "alternatives": alternatives, "confidence": 0.4, "read_text": None}
    body = editor.served.call("GET", f"pages/{editor.page}/lines")
    body["lines"] = [{**one, **given} if one["id"] == line["id"] else one for one in body["lines"]]
    editor.tab.route(f"**/api/v1/pages/{editor.page}/lines", lambda route: route.fulfill(json=body))


@pytest.mark.parametrize(
    ("other", "typed", "corrected"),
    [
        ("my Hause is old", "s", "my Hause is old"),  # a letter in place of the one that is read otherwise
        ("my Haupte is odd", "t", "my Haupte is old"),  # where the reading has one more, it is typed in
        ("my Haupe is odd", "Kuh", "my Kuh is old"),  # all of a word that is not read otherwise
        ("m yHau pe is odd", "Kuh", "my Kuh is old"),
    ],
)
def test_tab_selects_the_letters_that_are_read_otherwise(editor: EditorDriver, other: str, typed: str, corrected: str):
    give(editor, editor.served.lines(editor.page)[0], "my Haupe is old", other)
    editor.open()
    editor.press("Tab")
    editor.type(typed)
    assert editor.value == corrected


def test_a_letter_is_corrected_with_one_key_after_tab(editor: EditorDriver):
    give(editor, editor.served.lines(editor.page)[0], "Wer hat die Wahrheit", "Wer hot die Wahrheit")
    editor.open()
    editor.press("Tab", "o", "Enter")
    assert editor.saved()[0]["text"] == "Wer hot die Wahrheit"


def test_f2_selects_the_whole_word_and_again_its_doubtful_letters(editor: EditorDriver):
    give(editor, editor.served.lines(editor.page)[0], "Wer hat die Wahrheit", "Wer hot die Wahrheit")
    editor.open()
    selected = "[document.activeElement.selectionStart, document.activeElement.selectionEnd]"
    found = []
    for key in ("Tab", "F2", "F2"):
        editor.press(key)
        found.append(editor.tab.evaluate(selected))
    assert found == [[5, 6], [4, 7], [5, 6]]


def test_tab_walks_all_words_in_doubt_and_back_even_of_a_line_that_is_saved_between(editor: EditorDriver):
    lines = editor.served.lines(editor.page)
    doubts = doubts_of(lines)
    place = next(i for (i, _), (j, _) in itertools.pairwise(doubts) if i == j)
    there = [word for i, word in doubts if i == place]
    caret = "document.activeElement.selectionStart"

    def word_at_cursor() -> str:
        at = editor.tab.evaluate(caret)
        return next(word["text"] for word in words if word["start"] <= at <= word["end"])

    editor.open(f"?line={lines[place]['id']}")
    words = lines[place]["words"]
    walked = []
    for _ in there:
        editor.press("Tab")
        walked.append(word_at_cursor())
    assert walked == [word["text"] for word in there]
    editor.press("Shift+Tab")
    assert word_at_cursor() == there[-2]["text"]
    editor.tab.reload()
    editor.tab.locator("textarea.field:focus").wait_for()
    editor.press("Tab", "F2")
    editor.type("Kaffee")
    words = editor.saved()[place]["words"]  # as a draft, that is saved by itself
    editor.tab.reload()
    editor.tab.locator("textarea.field:focus").wait_for()
    editor.press("Tab")
    assert editor.place == place
    assert word_at_cursor() == there[1]["text"]


def test_a_page_takes_fewer_keys_than_a_third_of_its_lines_beyond_what_changes(editor: EditorDriver):
    editor.open()
    editor.press("Control+End", "Control+Enter")
    assert all(line["checked"] for line in editor.saved())


def test_alt_and_a_digit_take_another_reading(editor: EditorDriver):
    readings = [other["text"] for other in editor.served.lines(editor.page)[1]["alternatives"]]
    editor.open()
    editor.press("ArrowDown", "Alt+2")
    assert editor.value == readings[1]
    assert editor.saved()[1]["text"] == readings[1]


TAKEN = [  # now, the reading, as it was read, the cursor, what becomes of it
    ("a b c d", "a x c y", "a b c d", 0, "a x c y"),  # nothing was typed: all of the reading
    ("A b c d", "a x c y", "a b c d", 2, "A x c d"),  # the word at the cursor
    ("A b c d", "a x c y", "a b c d", 0, "A x c y"),  # of one that was typed, all others
    ("A b c d", "x b c d", "a b c d", 7, "x b c d"),  # that was typed over alone: asked for all the same
    ("a new b c d", "a b c x y", "a b c d", 8, "a new b c x y"),
    ("a c d", "a b c e", "a b c d", 2, "a c e"),
    ("A b c", "a b more c", "a b c", 4, "A b more c"),
    ("A b c", "a c", "a b c", 2, "A c"),
]


@pytest.mark.parametrize(("text", "other", "base", "cursor", "taken"), TAKEN)
def test_a_reading_leaves_what_was_typed(
    served: Served, tab: Any, text: str, other: str, base: str, cursor: int, taken: str
):
    tab.goto(served.address)
    module = tab.evaluate("new URL('editor/words.js', document.querySelector('script').src).href")
    take = "async ([url, ...facts]) => (await import(url)).takeReading(...facts)"
    assert tab.evaluate(take, [module, text, other, base, cursor, cursor]) == taken


def test_a_reading_for_a_word_keeps_the_correction_of_another_and_is_undone_by_itself(editor: EditorDriver):
    give(editor, editor.served.lines(editor.page)[0], "Wer hat die Wahrheit", "Wer hot die Warheit")
    editor.open()
    editor.press("Control+End", "Control+Home", "Home")
    editor.type("S")
    editor.press("Tab", "Alt+1")
    assert editor.value == "SWer hot die Wahrheit"
    editor.press("Control+z")
    assert editor.value == "SWer hat die Wahrheit"
    editor.press("Control+z")
    assert editor.value == "Wer hat die Wahrheit"


def test_undo_takes_back_over_lines_and_redo_brings_again(editor: EditorDriver):
    before = editor.served.lines(editor.page)
    editor.open()
    editor.press("End")
    editor.type("x")
    editor.press("Enter", "Control+z", "Control+z")
    assert editor.place == 0
    assert editor.value == before[0]["text"]
    editor.press("Control+y")
    assert editor.value == before[0]["text"] + "x"
    editor.press("Control+z")
    line = editor.saved()[0]
    assert (line["text"], line["checked"]) == (before[0]["text"], False)


def test_undo_leaves_what_another_has_written_since(editor: EditorDriver):
    editor.open()
    first = editor.served.lines(editor.page)[0]
    editor.type("first ")
    editor.press("ArrowDown")
    editor.type("second ")
    change(editor.served, editor.saved()[1], "theirs")
    editor.tab.locator("li.line", has_text="theirs").wait_for()
    editor.press("Control+z")
    assert [line["text"] for line in editor.saved()[:2]] == [first["text"], "theirs"]


def test_undo_of_a_split_or_a_join_gives_the_lines_back_as_they_were(editor: EditorDriver):
    before = editor.served.lines(editor.page)
    editor.open()
    editor.press("ArrowDown", "Home")
    editor.type("Wort")
    editor.press("ArrowLeft", "ArrowLeft", "Alt+Enter")  # in the midst of a word
    editor.wait_for_lines(len(before) + 1)
    editor.press("Control+z")
    editor.wait_for_lines(len(before))
    editor.wait_until(lambda: editor.saved()[1]["text"] == "Wort" + before[1]["text"])
    assert shapes_of(editor) == [(line["baseline"], line["polygon"]) for line in before]
    editor.press("Control+z")
    assert editor.saved()[1]["text"] == before[1]["text"]

    editor.press("Home", "Alt+Enter")  # there is nothing to split
    editor.press("Control+ArrowRight", "Control+ArrowRight", "Alt+Enter")
    editor.wait_for_lines(len(before) + 1)
    split = editor.served.lines(editor.page)
    editor.press("Alt+Shift+Enter")
    editor.wait_for_lines(len(before))
    editor.press("Control+z")
    editor.wait_for_lines(len(before) + 1)
    editor.wait_until(lambda: [line["text"] for line in editor.saved()] == [line["text"] for line in split])
    assert shapes_of(editor) == [(line["baseline"], line["polygon"]) for line in split]
    editor.press("Control+z")
    editor.wait_for_lines(len(before))
    editor.wait_until(lambda: [line["text"] for line in editor.saved()] == [line["text"] for line in before])


def test_a_line_is_split_at_the_caret_whatever_the_server_drops_of_what_was_typed(editor: EditorDriver):
    before = editor.served.lines(editor.page)
    editor.open()
    editor.press("ArrowDown", "Control+a")
    editor.tab.keyboard.insert_text("  e\u0301te\u0301 d\u00e9ja\u0300 mot")  # as it is copied from a PDF
    assert editor.saved()[1]["text"] == "\u00e9t\u00e9 d\u00e9j\u00e0 mot"
    editor.press(*["ArrowLeft"] * 3, "Alt+Enter")
    editor.wait_for_lines(len(before) + 1)
    assert [line["text"] for line in editor.saved()[1:3]] == ["\u00e9t\u00e9 d\u00e9j\u00e0", "mot"]


def as_read(editor: EditorDriver) -> list[Any]:
    names = ("id", "text", "kind", "confidence", "words", "alternatives", "read_text", "baseline", "polygon")
    return [[line[name] for name in names] for line in editor.served.lines(editor.page)]


@pytest.mark.parametrize("keys", [["Alt+Shift+Enter"], [*["ArrowRight"] * 2, "Alt+Enter"]], ids=["join", "split"])
def test_what_a_machine_has_read_is_no_draft_of_a_person_after_undo(editor: EditorDriver, keys: list[str]):
    line = editor.served.lines(editor.page)[1]
    middle = (line["baseline"][0][0] + line["baseline"][-1][0]) / 2
    changed(editor, "POST", f"lines/{line['id']}/split", {"x": middle})
    before = as_read(editor)
    assert {line["kind"] for line in editor.served.lines(editor.page)} == {"machine"}
    editor.open()
    editor.press("ArrowDown", *keys)
    editor.wait_until(lambda: len(as_read(editor)) != len(before))
    editor.press("Control+z")
    editor.wait_for_lines(len(before))
    editor.wait_until(lambda: as_read(editor) == before)


def changed(editor: EditorDriver, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Change the layout of the page as another person."""
    version = editor.served.call("GET", f"pages/{editor.page}")["version"]
    headers = {"If-Match": f'"{version}"'}
    answer: dict[str, Any] = editor.served.call(method, f"{path}?read=false", json=body, headers=headers)
    return answer


def hold_posts(editor: EditorDriver, path: str) -> list[Any]:
    """Changes of the page that wait until the test lets them go on."""
    held: list[Any] = []

    def answer(route: Any) -> None:
        if route.request.method == "POST":
            held.append(route)
        else:
            route.continue_()

    editor.tab.route(f"**/pages/{editor.page}/{path}", answer)
    return held


def test_what_is_typed_while_a_split_is_undone_is_for_the_line_that_is_whole_again(editor: EditorDriver):
    before = editor.served.lines(editor.page)
    held = hold_posts(editor, "merge?*")
    editor.open()
    editor.press("ArrowDown", *["ArrowRight"] * 2, "Alt+Enter")
    editor.wait_for_lines(len(before) + 1)
    editor.press("Control+z")
    editor.type("xy")
    editor.wait_until(lambda: len(held) == 1)
    held[0].continue_()
    editor.wait_for_lines(len(before))
    text = before[1]["text"]
    editor.wait_until(lambda: editor.value == f"{text[:2]}xy{text[2:]}")
    assert editor.saved()[1]["text"] == editor.value
    expect(editor.tab.locator("li.line .note")).to_have_count(0)


def test_undo_that_has_to_wait_takes_back_nothing_that_is_typed_after_it(editor: EditorDriver):
    before = editor.served.lines(editor.page)
    held = hold_posts(editor, "lines")
    editor.open()
    editor.press("ArrowDown", "F9")
    editor.tab.locator(".layout-surface:focus").wait_for()
    editor.press("n", "Escape")
    editor.tab.locator("textarea.field:focus").wait_for()
    editor.type("a")
    editor.press("Control+z")
    editor.type("b")
    editor.wait_until(lambda: len(held) == 1)
    held[0].continue_()
    editor.wait_for_lines(len(before) + 1)
    assert "b" in editor.saved()[1]["text"].removesuffix(before[1]["text"])


def shapes_of(editor: EditorDriver) -> list[Any]:
    return [(line["baseline"], line["polygon"]) for line in editor.served.lines(editor.page)]


def test_a_message_takes_back_what_it_tells_of_and_nothing_else(editor: EditorDriver):
    editor.open()
    editor.press("ArrowDown", "Control+Enter")
    editor.type("typed since ")
    before = editor.saved()
    assert [line["checked"] for line in before[:2]] == [True, True]
    editor.tab.get_by_role("button", name="Undo").press("Enter")
    lines = editor.saved()
    assert [line["checked"] for line in lines[:2]] == [False, False]
    assert lines[2]["text"] == before[2]["text"].strip()


@pytest.mark.parametrize("place", [4, 6])  # within a word, whose parts joined have a space between
def test_a_split_is_undone_and_so_is_what_was_typed_before(editor: EditorDriver, place: int):
    editor.open()
    before = editor.served.lines(editor.page)
    editor.press("ArrowDown", "Home")
    editor.type("x")
    editor.press(*["ArrowRight"] * place, "Alt+Enter")
    editor.type("kept ")  # while the split is under way
    editor.press("Control+z", "Control+z")
    editor.tab.get_by_text("The line was split").wait_for()
    editor.wait_until(lambda: len(editor.served.lines(editor.page)) == len(before))
    editor.wait_until(lambda: editor.value == "x" + before[1]["text"])
    assert editor.place == 1
    after = editor.saved()[1]
    assert (after["text"], after["id"]) == ("x" + before[1]["text"], before[1]["id"])
    assert (after["baseline"], after["polygon"]) == (before[1]["baseline"], before[1]["polygon"])
    editor.press("Control+z")
    assert editor.saved()[1]["text"] == before[1]["text"]


def test_a_mark_stands_in_the_text_and_is_taken_away_by_the_same_key(editor: EditorDriver):
    editor.open()
    editor.press("ArrowDown", "Home", "Control+Shift+ArrowRight", "Alt+7")
    text = editor.value
    assert text.startswith("⟦")
    assert editor.saved()[1]["text"] == text
    assert editor.tab.locator("li.line.active .mark-struck").count() > 0
    editor.press("Alt+7")
    assert "⟦" not in editor.value


def test_the_palette_puts_a_character_where_the_cursor_was(editor: EditorDriver):
    editor.open()
    editor.press("Home", "Alt+0", "ArrowRight", "Enter")
    assert editor.value.startswith("ß")


def test_signs_that_no_font_of_the_system_has_are_drawn_by_one_of_the_page(editor: EditorDriver):
    asked: list[str] = []
    editor.tab.on("request", lambda request: asked.append(request.url))
    editor.open()
    assert not any(url.endswith("mufi.woff2") for url in asked)
    with editor.tab.expect_response("**/mufi.woff2") as font:
        editor.tab.keyboard.insert_text("\ue665")
    assert font.value.ok
    editor.wait_until(lambda: "loaded" in editor.tab.evaluate("[...document.fonts].map(font => font.status)"))


def test_the_palette_opens_for_the_keys_and_is_walked_by_rows(editor: EditorDriver):
    editor.open()
    editor.press("Home", "Alt+0", "ArrowDown", "ArrowRight", "ArrowUp", "Enter")
    assert editor.value.startswith("ß")
    editor.tab.get_by_role("button", name="All special characters").press("Enter")
    expect(editor.tab.locator(".signs.open")).to_have_count(1)


def test_the_history_of_a_line_puts_an_earlier_text_back(editor: EditorDriver):
    before = editor.served.lines(editor.page)[0]["text"]
    editor.open()
    editor.type("No! ")
    editor.saved()
    editor.press("F4")
    editor.tab.locator(".versions").wait_for()
    assert editor.tab.locator(".versions li").count() == 2
    editor.press("Enter")  # the earlier one has the focus
    editor.tab.locator("dialog").wait_for(state="detached")
    assert editor.value == before
    assert editor.saved()[0]["text"] == before


def test_a_dialog_does_not_outlive_its_screen(editor: EditorDriver):
    editor.tab.goto(f"{editor.served.address}/#/collection/1")
    editor.tab.locator(".cell").first.wait_for()
    editor.open()
    editor.press("F4")
    editor.tab.locator(".versions").wait_for()
    editor.tab.go_back()
    editor.tab.locator(".cell").first.wait_for()
    expect(editor.tab.locator("dialog")).to_have_count(0)


def test_question_mark_shows_the_keys_outside_the_text_and_is_typed_within(editor: EditorDriver):
    editor.open()
    editor.type("?")
    assert editor.value.startswith("?")
    editor.press("Escape", "?")
    editor.tab.locator("dialog.keys-dialog").wait_for()
    editor.press("Escape")
    editor.tab.locator("dialog").wait_for(state="detached")


def test_escape_leaves_the_text_so_that_tab_moves_through_the_page(editor: EditorDriver):
    editor.open()
    editor.press("Escape")
    assert editor.tab.evaluate("document.activeElement.closest('header') !== null")


@pytest.mark.parametrize("mode", ["side", "layout", "strips"])
def test_lines_are_edited_in_every_view(editor: EditorDriver, mode: str):
    editor.tab.add_init_script(f"localStorage.setItem('quill.mode', '{mode}')")
    editor.open()
    editor.press("ArrowDown", "ArrowDown", "Home")
    editor.type("¶ ")
    assert editor.saved()[2]["text"].startswith("¶ ")


def test_the_word_under_the_cursor_is_lit_on_the_image(editor: EditorDriver):
    editor.open()
    editor.press("ArrowDown", "End")
    editor.tab.locator(".stage canvas").first.wait_for()
    polygon = editor.served.lines(editor.page)[1]["words"][-1]["polygon"]
    points = editor.tab.locator(".word-mark").get_attribute("points")
    assert [float(x) for x in points.replace(",", " ").split()] == [x for point in polygon for x in point]


def test_lines_pasted_into_one_are_joined_and_spread_on_wish(editor: EditorDriver, context: Any):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    editor.open()
    editor.tab.evaluate("navigator.clipboard.writeText(Array.from({length: 40}, (_, i) => `row ${i + 1}`).join('\\n'))")
    editor.press("Control+a", "Control+v")
    assert editor.value == " ".join(f"row {i + 1}" for i in range(40))
    editor.tab.get_by_role("button", name="Spread over").press("Enter")
    lines = editor.saved()
    assert [line["text"] for line in lines[:3]] == ["row 1", "row 2", "row 3"]
    assert lines[-1]["text"].startswith(f"row {len(lines)} row") or len(lines) >= 40


PASTE = """text => {
    const data = new DataTransfer();
    data.setData('text/plain', text);
    const event = new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true});
    if (document.activeElement.dispatchEvent(event)) document.execCommand('insertText', false, text);
}"""


def test_a_text_too_long_for_a_line_is_not_pasted(editor: EditorDriver):
    editor.open()
    before = editor.value
    editor.tab.evaluate(PASTE, "x" * 2_000_000)
    expect(editor.tab.locator(".toast.error")).to_contain_text("2,000,000 characters")
    assert editor.value == before
    editor.type("y")
    assert editor.saved()[0]["text"] == "y" + before


def test_control_characters_are_not_pasted_and_undo_brings_back_what_the_server_has_cleaned(editor: EditorDriver):
    editor.open()
    before = editor.value
    editor.press("Control+a")
    editor.tab.evaluate(PASTE, "a\0b\x1b c\td\u2028e \u202eright ")
    assert editor.saved()[0]["text"] == "ab c d e right"
    editor.press("Control+z")
    assert editor.saved()[0]["text"] == before


def test_script_emoji_and_right_to_left_text_are_text(editor: EditorDriver):
    editor.open()
    text = "<img src=x onerror=alert(1)> 👩‍🌾 שלום עולם"
    editor.press("Control+a")
    editor.tab.keyboard.insert_text(text)
    editor.press("ArrowDown")
    assert editor.saved()[0]["text"] == text
    editor.tab.reload()
    shown = editor.tab.locator("li.line .text").first
    shown.wait_for()
    assert shown.text_content() == text
    assert editor.tab.locator("li.line img:not(.strip)").count() == 0


def test_words_behind_an_emoji_keep_their_places(editor: EditorDriver):
    line = editor.served.lines(editor.page)[1]
    editor.served.call(
        "PUT",
        f"lines/{line['id']}/text",
        json={"text": "👩 " + line["text"], "checked": False},
        headers={"If-Match": f'"{line["revision"]}"'},
    )
    editor.open()
    editor.press("ArrowDown", "End")
    last = editor.served.lines(editor.page)[1]["words"][-1]
    points = editor.tab.locator(".word-mark").get_attribute("points")
    assert [float(x) for x in points.replace(",", " ").split()] == [x for point in last["polygon"] for x in point]


def test_a_line_is_split_at_the_cursor_and_joined_again(editor: EditorDriver):
    before = editor.served.lines(editor.page)
    editor.open()
    editor.press("ArrowDown", "Home", "Control+ArrowRight", "Control+ArrowRight", "Alt+Enter")
    editor.wait_for_lines(len(before) + 1)
    lines = editor.served.lines(editor.page)
    assert f"{lines[1]['text']} {lines[2]['text']}" == before[1]["text"]
    editor.press("Alt+Shift+Enter")
    editor.wait_for_lines(len(before))
    assert editor.served.lines(editor.page)[1]["text"] == before[1]["text"]


def test_text_from_right_to_left_is_split_where_it_stands(editor: EditorDriver):
    count = len(editor.served.lines(editor.page))
    editor.open()
    editor.press("ArrowDown", "Control+a")
    editor.tab.keyboard.insert_text("אבג דהו זחט יכל מנס עפצ קרש תאב")
    editor.saved()
    editor.press("Home", *["ArrowLeft"] * 4, "Alt+Enter")
    editor.wait_for_lines(count + 1)
    first, second = editor.served.lines(editor.page)[1:3]
    assert (first["text"], second["text"]) == ("אבג", "דהו זחט יכל מנס עפצ קרש תאב")
    ends = [[x for x, _ in line["baseline"]] for line in (first, second)]
    assert min(ends[0]) >= max(ends[1])
    assert max(ends[0]) - min(ends[0]) < (max(ends[1]) - min(ends[1])) / 3


@pytest.mark.parametrize(
    ("text", "lefts", "place"), [("ab cd", [0, 60], 50), ("אב גד", [60, 0], 50), ("אב גד", [0, 60], 40)]
)
def test_a_line_is_split_between_its_words_if_they_stand_as_they_are_read(
    served: Served, tab: Any, text: str, lefts: list[int], place: float
):
    tab.goto(served.address)
    module = tab.evaluate("new URL('editor/layout-calls.js', document.querySelector('script').src).href")
    words = [
        {"start": start, "end": start + 2, "polygon": [[left, 0], [left + 40, 9]]}
        for start, left in zip((0, 3), lefts, strict=True)
    ]
    line = {"text": text, "words": words, "polygon": [[0, 0], [100, 9]], "baseline": []}
    assert tab.evaluate("async ([url, line]) => (await import(url)).placeOf(line, 3)", [module, line]) == place


def test_a_message_leaves_the_readings_free_and_ends_with_the_page(editor: EditorDriver):
    editor.open()
    editor.press("Control+Enter")
    message = editor.tab.locator(".toast", has_text="Undo")
    message.wait_for()
    dock, box = editor.tab.locator(".dock").bounding_box(), message.bounding_box()
    assert box["x"] + box["width"] <= dock["x"] or box["y"] + box["height"] <= dock["y"]
    editor.press("PageDown")
    message.wait_for(state="detached")


def test_five_readings_are_in_sight(editor: EditorDriver):
    give(editor, editor.served.lines(editor.page)[0], "my Haupe is old", *[f"my Haup{x} is old" for x in "abcdf"])
    editor.open()
    expect(editor.tab.locator(".reading")).to_have_count(5)
    heights = editor.tab.evaluate("(r => [r.scrollHeight, r.clientHeight])(document.querySelector('.readings'))")
    assert heights[0] <= heights[1]


def test_page_keys_turn_pages(served: Served, tab: Any):
    first, second = served.new_page(), served.new_page()
    assert second == first + 1
    editor = EditorDriver(tab, served, first).open()
    label = tab.locator(".page-label")
    expect(label).not_to_be_empty()
    before = label.inner_text()
    editor.press("PageDown")
    expect(tab).to_have_url(re.compile(f"#/page/{second}$"))
    expect(label).not_to_be_empty()
    expect(label).not_to_have_text(before)
    tab.locator("textarea.field:focus").wait_for()
    editor.press("PageUp")
    expect(tab).to_have_url(re.compile(f"#/page/{first}$"))


def test_page_keys_go_on_in_the_next_document_and_say_so(served: Served, tab: Any):
    collection = served.new_collection("Box one", 2)
    other = served.call("POST", f"collections/{collection}/documents", json={"name": "<b>Box</b> two"})["id"]
    third = served.new_page()
    served.call("PATCH", f"pages/{third}", json={"document_id": other})
    first, second, _ = (page["id"] for page in served.call("GET", f"collections/{collection}/pages")["items"])
    editor = EditorDriver(tab, served, first).open()
    for page, name, toasts in ((second, "Page 2 of 2", 0), (third, "<b>Box</b> two", 1)):
        editor.press("PageDown")
        expect(tab).to_have_url(re.compile(f"#/page/{page}$"))
        expect(tab.locator("h1")).to_contain_text(name)  # until then the page before is there
        tab.locator("textarea.field:focus").wait_for()
        expect(tab.locator(".toast")).to_have_count(toasts)
    expect(tab.locator(".toast")).to_contain_text("<b>Box</b> two")
    expect(tab.locator(".document-name")).to_have_text("<b>Box</b> two")
    editor.press("PageDown")
    expect(tab.locator(".toast").last).to_contain_text("last page of the collection")
    editor.press("PageUp")
    expect(tab).to_have_url(re.compile(f"#/page/{second}$"))


def test_the_next_page_is_the_one_that_is_next_by_now(served: Served, tab: Any):
    collection = served.new_collection("Shrinking", 3)
    first, second, third = (page["id"] for page in served.call("GET", f"collections/{collection}/pages")["items"])
    editor = EditorDriver(tab, served, first).open()
    following = tab.locator(".steps a").last
    expect(following).to_have_attribute("href", f"#/page/{second}")
    served.call("DELETE", f"pages/{second}")
    expect(following).to_have_attribute("href", f"#/page/{third}")
    expect(tab.locator(".page-label")).to_have_text("Page 1 of 2")
    served.call("POST", f"pages/{second}/restore")
    expect(following).to_have_attribute("href", f"#/page/{second}")
    served.call("PATCH", "pages", json={"page_ids": [second, third], "deleted": True})
    expect(following).to_have_attribute("aria-disabled", "true")
    editor.press("PageDown")
    expect(tab.locator(".toast")).to_contain_text("last page of the collection")


def test_the_image_follows_the_last_of_many_lines_that_go_by_fast(editor: EditorDriver):
    editor.open()
    editor.tab.locator(".stage canvas").first.wait_for()
    editor.press(*["ArrowDown"] * 12)
    (x, y), *_ = editor.served.lines(editor.page)[12]["polygon"]
    expect(editor.tab.locator(".line-mark")).to_have_attribute("points", re.compile(f"^{x:g},{y:g} "))


@pytest.mark.parametrize("pages", [1, 2], ids=["with its document", "out of its document"])
def test_an_open_page_that_moves_to_another_collection_is_edited_on_and_hears_of_others(
    served: Served, tab: Any, pages: int
):
    here = served.new_collection(f"Left by {pages}", pages)
    there = served.call("POST", "collections", json={"name": f"Entered by {pages}"})["id"]
    page = served.call("GET", f"collections/{here}/pages")["items"][0]["id"]
    editor = EditorDriver(tab, served, page).open()
    first, second, *_ = served.lines(page)
    editor.type("before ")
    with tab.expect_response(lambda answer: answer.url.endswith(f"events?collection_id={there}")):
        served.call("POST", f"collections/{there}/pages", json={"page_ids": [page]})
    expect(tab.locator(f".editor-bar a[href='#/collection/{there}']")).to_be_visible()
    expect(tab.locator(".page-status .banner")).to_have_count(0)
    editor.type("and after ")
    assert editor.saved()[0]["text"] == "before and after " + first["text"]
    change(served, second, "by another")
    expect(tab.locator("li.line").nth(1)).to_contain_text("by another")
    served.call("DELETE", f"pages/{page}")
    expect(tab.locator(".page-status .banner")).to_contain_text("Another person has deleted this")
    served.call("POST", f"pages/{page}/restore")
    expect(tab.locator(".page-status .banner")).to_have_count(0)


def put_into(editor: EditorDriver, kind: str, line_ids: list[int]) -> None:
    """Put lines into a new region of a kind."""
    region = {"kind": kind, "polygon": [[0, 0], [9, 0], [9, 9], [0, 9]]}
    (made,) = changed(editor, "POST", f"pages/{editor.page}/regions", region)["regions"]
    for id in line_ids:
        changed(editor, "PATCH", f"lines/{id}/layout", {"region_id": made["id"]})


def test_lines_in_pictures_and_regions_to_ignore_are_passed_by(editor: EditorDriver):
    lines = editor.served.lines(editor.page)
    ids = [line["id"] for line in lines]
    put_into(editor, "picture", ids[:2])
    put_into(editor, "ignore", ids[4:5])
    editor.open()
    assert editor.place == 2
    editor.press("Enter", "Enter")
    assert editor.place == 5
    editor.press("Shift+Enter")
    assert editor.place == 3
    editor.press("Tab")  # the lines before are checked
    assert editor.place == next(i for i, _ in doubts_of(lines) if i > 4)
    editor.press("Control+End", "Control+Enter")
    checked = [line["id"] for line in editor.saved() if line["checked"]]
    assert checked == [id for i, id in enumerate(ids) if i not in (0, 1, 4)]
    editor.press("Enter")
    expect(editor.tab).not_to_have_url(re.compile(f"#/page/{editor.page}$"))
    editor.tab.goto(f"{editor.served.address}/#/page/{editor.page}/print")
    expect(editor.tab.locator(".print-line")).to_have_count(len(ids) - 3)
