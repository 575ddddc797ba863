"""The layout by hand, with keys alone and with the pointer."""

import re
from typing import Any

import pytest
from browsing import SHOTS, EditorDriver, Served, expect


def start(editor: EditorDriver, place: int = 1) -> EditorDriver:
    editor.open()
    editor.press(*["ArrowDown"] * place, "F9")
    editor.tab.locator(".layout-surface:focus").wait_for()
    return editor


def test_a_line_is_added_below_moved_deleted_and_taken_back_by_keys(editor: EditorDriver):
    before = editor.served.lines(editor.page)
    start(editor).press("n")
    editor.wait_for_lines(len(before) + 1)
    known = {line["id"] for line in before}
    (added,) = (line for line in editor.served.lines(editor.page) if line["id"] not in known)
    assert added["baseline"][0][1] > before[1]["baseline"][0][1]
    editor.press("Shift+ArrowDown", "Shift+ArrowDown")
    editor.wait_until(lambda: line_of(editor, added["id"])["baseline"][0][1] > added["baseline"][0][1])
    editor.press("Delete")
    editor.wait_for_lines(len(before))
    editor.press("Control+z")
    editor.wait_for_lines(len(before) + 1)
    editor.press("Escape")
    editor.tab.locator("textarea.field:focus").wait_for()


@pytest.mark.parametrize("moves", [[], ["Shift+ArrowUp", "Shift+ArrowUp"]])
def test_the_text_of_a_line_that_was_drawn_is_shown_once_it_is_read(editor: EditorDriver, moves: list[str]):
    before = editor.served.lines(editor.page)
    start(editor).press("n", *moves)
    editor.wait_for_lines(len(before) + 1)
    known = {line["id"] for line in before}
    (added,) = (line for line in editor.served.lines(editor.page) if line["id"] not in known)
    editor.wait_until(lambda: line_of(editor, added["id"])["text"] != "")
    read = line_of(editor, added["id"])["text"]
    expect(editor.tab.locator(f"li.line[data-id='{added['id']}'] .text")).to_have_text(read)
    editor.press("Escape", "Enter")
    editor.saved()
    right = line_of(editor, added["id"])
    assert (right["text"], right["checked"]) == (read, True)


@pytest.mark.parametrize(("key", "more"), [("s", 1), ("j", -1), ("Delete", -1)])
def test_a_line_that_was_just_moved_is_split_joined_or_deleted_where_it_is(editor: EditorDriver, key: str, more: int):
    before = editor.served.lines(editor.page)
    if key == "j":  # two in a row
        start(editor).press("s")
        editor.wait_for_lines(len(before) + 1)
        before = editor.served.lines(editor.page)
    else:
        start(editor)
    editor.press("Shift+ArrowDown", key)
    editor.wait_for_lines(len(before) + more)
    editor.tab.wait_for_timeout(1500)  # moves are saved half a second after the last
    assert editor.tab.locator(".toast.error").count() == 0
    if key == "Delete":
        editor.press("Control+z")
        editor.wait_for_lines(len(before))
    first, *rest = (line["baseline"] for line in editor.served.lines(editor.page)[1:])
    was, *others = (line["baseline"] for line in before[1:])
    assert first[0][1] > was[0][1]
    if key == "s":
        assert first[-1] == rest[0][0]
    elif key == "j":
        assert first[-1][0] == others[0][-1][0]
    else:
        assert first[-1][0] == was[-1][0]


FOCUSES = """
const choose = HTMLTextAreaElement.prototype.setSelectionRange;
HTMLTextAreaElement.prototype.setSelectionRange = function (...range) {
  this.focus();
  choose.apply(this, range);
};
"""
"""As Safari did up to 18.2."""


def test_keys_stay_those_of_the_layout_where_selecting_text_gives_it_the_focus(editor: EditorDriver):
    editor.tab.add_init_script(FOCUSES)
    before = editor.served.lines(editor.page)
    start(editor).press("ArrowDown")
    expect(editor.tab.locator(".layout-surface")).to_be_focused()
    assert editor.place == 2
    editor.press("Escape")
    editor.tab.locator("textarea.field:focus").wait_for()
    editor.type("typed ")
    assert editor.saved()[2]["text"] == "typed " + before[2]["text"]


def test_a_point_of_a_baseline_is_moved_by_keys_and_moved_back(editor: EditorDriver):
    before = editor.served.lines(editor.page)[1]
    start(editor).press("p", "ArrowUp", "ArrowUp", "ArrowUp")
    editor.wait_until(lambda: line_of(editor, before["id"])["baseline"][0][1] == before["baseline"][0][1] - 12)
    assert line_of(editor, before["id"])["baseline"][1:] == before["baseline"][1:]
    editor.press("Control+z")
    editor.wait_until(lambda: line_of(editor, before["id"])["baseline"] == before["baseline"])


def test_lines_are_put_in_another_order_by_keys(editor: EditorDriver):
    first, second, third, *_ = (line["id"] for line in editor.served.lines(editor.page))
    start(editor).press("Alt+ArrowDown")
    editor.wait_until(lambda: [x["id"] for x in editor.served.lines(editor.page)[:3]] == [first, third, second])
    editor.press("Control+z")
    editor.wait_until(lambda: [x["id"] for x in editor.served.lines(editor.page)[:3]] == [first, second, third])


def test_a_line_goes_as_many_places_as_its_key_is_pressed(editor: EditorDriver):
    first, second, third, fourth, *_ = (line["id"] for line in editor.served.lines(editor.page))
    start(editor)
    editor.tab.evaluate("""() => {
        for (let i = 0; i < 2; i++) {
            const key = new KeyboardEvent("keydown", {key: "ArrowDown", altKey: true, bubbles: true, cancelable: true});
            document.activeElement.dispatchEvent(key);
        }
    }""")
    editor.wait_until(lambda: [x["id"] for x in editor.served.lines(editor.page)[:4]] == [first, third, fourth, second])


def test_a_line_is_put_elsewhere_by_dragging_its_number(editor: EditorDriver):
    first, second, third, fourth, *rest = (line["id"] for line in editor.served.lines(editor.page))
    start(editor)

    def number_of(line: int) -> dict[str, float]:
        box: dict[str, float] = editor.tab.locator(f"li.line[data-id='{line}'] .number").bounding_box()
        return box

    mouse = editor.tab.mouse
    grasped, target = number_of(second), number_of(fourth)
    mouse.move(grasped["x"] + 12, grasped["y"] + 8)
    mouse.down()
    mouse.move(target["x"] + 12, target["y"] + 4, steps=4)
    mouse.move(target["x"] + 12, target["y"] + target["height"] + 4, steps=2)
    expect(editor.tab.locator("li.line.drop-after")).to_have_count(1)
    mouse.up()
    editor.wait_until(
        lambda: [x["id"] for x in editor.served.lines(editor.page)] == [first, third, fourth, second, *rest]
    )
    editor.tab.locator(".layout-surface").focus()
    editor.press("Control+z")
    editor.wait_until(lambda: [x["id"] for x in editor.served.lines(editor.page)][:3] == [first, second, third])


def test_the_layout_gives_way_to_strips_which_have_no_image(editor: EditorDriver):
    start(editor)
    editor.tab.locator("[data-mode=strips]").press("Enter")
    expect(editor.tab.locator(".layout-bar")).to_have_count(0)
    # Twice before it is there: it is open once.
    editor.tab.evaluate("""() => {
        for (let i = 0; i < 2; i++) {
            const key = new KeyboardEvent("keydown", {key: "F9", bubbles: true, cancelable: true});
            document.activeElement.dispatchEvent(key);
        }
    }""")
    expect(editor.tab.locator(".layout-bar")).to_have_count(1)
    expect(editor.tab.locator(".layout-bar")).to_be_visible()


def test_a_line_is_split_and_joined_in_the_layout(editor: EditorDriver):
    # Parts of a line that a person has checked keep its text when they are read.
    editor.open().press("ArrowDown", "Enter", "ArrowUp")
    before = editor.saved()
    assert before[1]["checked"] and editor.place == 1
    editor.press("F9")
    editor.tab.locator(".layout-surface:focus").wait_for()
    editor.press("s")
    editor.wait_for_lines(len(before) + 1)
    editor.press("j")
    editor.wait_for_lines(len(before))
    assert editor.served.lines(editor.page)[1]["text"] == before[1]["text"]
    editor.press("Control+z")
    editor.wait_for_lines(len(before) + 1)
    editor.press("Control+z")
    editor.wait_for_lines(len(before))
    editor.wait_until(lambda: line_of(editor, before[1]["id"])["polygon"] == before[1]["polygon"])
    assert editor.served.lines(editor.page)[1]["text"] == before[1]["text"]


def test_undo_in_the_message_of_a_deletion_brings_back_what_was_deleted(editor: EditorDriver):
    before = editor.served.lines(editor.page)
    start(editor).press("Delete")
    editor.wait_for_lines(len(before) - 1)
    editor.press("Alt+ArrowDown")
    order = [line["id"] for line in before]
    order[1:4] = [order[3], order[2]]
    editor.wait_until(lambda: [line["id"] for line in editor.served.lines(editor.page)] == order)
    editor.tab.get_by_role("button", name="Undo").press("Enter")
    editor.wait_for_lines(len(before))
    assert {line["id"] for line in editor.served.lines(editor.page)} == {line["id"] for line in before}


def test_a_move_and_a_split_are_taken_back_one_after_the_other(editor: EditorDriver):
    before = editor.served.lines(editor.page)
    start(editor).press("Shift+ArrowDown")
    editor.wait_until(lambda: line_of(editor, before[1]["id"])["baseline"] != before[1]["baseline"])
    editor.press("s")
    editor.wait_for_lines(len(before) + 1)
    editor.press("Control+z")
    editor.wait_for_lines(len(before))
    moved = line_of(editor, before[1]["id"])["baseline"]
    assert moved[-1][0] == before[1]["baseline"][-1][0]
    editor.press("Control+z")
    editor.wait_until(lambda: line_of(editor, before[1]["id"])["baseline"] == before[1]["baseline"])
    assert line_of(editor, before[1]["id"])["polygon"] == before[1]["polygon"]


def test_a_region_is_made_around_lines_and_gets_a_kind_by_keys(editor: EditorDriver):
    regions = len(layout_of(editor)["regions"])
    start(editor).press("Control+ArrowDown", "m")
    editor.wait_until(lambda: len(layout_of(editor)["regions"]) == regions + 1)
    editor.tab.locator(".region.chosen").wait_for()
    editor.press("k")
    editor.wait_until(lambda: "margin" in [region["kind"] for region in layout_of(editor)["regions"]])
    editor.press("Delete")
    editor.wait_until(lambda: len(layout_of(editor)["regions"]) == regions)


def test_a_region_that_is_taken_back_leaves_lines_where_they_were(editor: EditorDriver):
    before = [line["region_id"] for line in layout_of(editor)["lines"]]
    assert None not in before
    start(editor).press("Control+ArrowDown", "m")
    editor.wait_until(lambda: [line["region_id"] for line in layout_of(editor)["lines"]] != before)
    editor.tab.locator(".region.chosen").wait_for()
    editor.press("Control+z")
    editor.wait_until(lambda: [line["region_id"] for line in layout_of(editor)["lines"]] == before)


def test_a_new_line_belongs_to_the_smallest_region_around_it(editor: EditorDriver):
    page = editor.served.call("GET", f"pages/{editor.page}")
    around = [[0, 0], [page["width"], 0], [page["width"], page["height"]], [0, page["height"]]]
    line = editor.served.lines(editor.page)[1]
    (left, top), (right, _) = line["baseline"][0], line["baseline"][-1]
    within = [[left - 30, top - 60], [right + 30, top - 60], [right + 30, top + 200], [left - 30, top + 200]]
    for polygon in (around, within):
        version = editor.served.call("GET", f"pages/{editor.page}")["version"]
        headers = {"If-Match": f'"{version}"'}
        editor.served.call("POST", f"pages/{editor.page}/regions", json={"polygon": polygon}, headers=headers)
    smallest = layout_of(editor)["regions"][-1]["id"]
    known = {one["id"] for one in editor.served.lines(editor.page)}
    start(editor).press("n")
    editor.wait_for_lines(len(known) + 1)
    (added,) = (one for one in editor.served.lines(editor.page) if one["id"] not in known)
    assert added["region_id"] == smallest


def drag_baseline(editor: EditorDriver, y: int) -> None:
    box = editor.tab.locator(".overlay").bounding_box()
    mouse = editor.tab.mouse
    mouse.move(box["x"] + 60, box["y"] + y)
    mouse.down()
    mouse.move(box["x"] + 200, box["y"] + y + 5, steps=4)
    mouse.move(box["x"] + 400, box["y"] + y + 2, steps=4)
    mouse.up()


def test_baselines_are_drawn_one_after_the_other_until_escape(editor: EditorDriver):
    before = editor.served.lines(editor.page)
    start(editor).press("b")
    for number, y in enumerate((300, 330), 1):
        drag_baseline(editor, y)
        editor.wait_for_lines(len(before) + number)
    editor.press("Escape")
    editor.tab.locator("[data-key=choose][aria-pressed=true]").wait_for()
    editor.press("Escape")
    editor.tab.locator("textarea.field:focus").wait_for()


def test_the_image_stays_where_lines_are_drawn(editor: EditorDriver):
    start(editor).press("b")
    editor.tab.wait_for_timeout(600)
    group = editor.tab.locator(".overlay g").first
    place, lines = group.get_attribute("transform"), editor.tab.locator("li.line").count()
    drag_baseline(editor, 400)
    editor.wait_for_lines(lines + 1)
    editor.tab.wait_for_timeout(600)
    assert group.get_attribute("transform") == place


def test_the_layout_opens_with_the_tool_that_it_was_left_with(editor: EditorDriver):
    start(editor).press("b", "F9")
    editor.tab.locator(".layout-surface").wait_for(state="detached")
    editor.press("F9")
    editor.tab.locator("[data-key=drawLine][aria-pressed=true]").wait_for()


def test_a_point_is_dragged_with_the_pointer(editor: EditorDriver):
    before = editor.served.lines(editor.page)[1]
    start(editor)
    handle = editor.tab.locator("[data-point='2']")
    handle.hover()  # it waits until the image has come to rest
    box = handle.bounding_box()
    mouse = editor.tab.mouse
    mouse.down()
    mouse.move(box["x"] + 5, box["y"] + 22, steps=5)
    mouse.up()
    editor.wait_until(lambda: line_of(editor, before["id"])["baseline"][2][1] > before["baseline"][2][1] + 5)


def line_of(editor: EditorDriver, id: int) -> dict[str, list[list[float]]]:
    return next(line for line in editor.served.lines(editor.page) if line["id"] == id)


def layout_of(editor: EditorDriver) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = editor.served.call("GET", f"pages/{editor.page}/lines")
    return found


def test_a_new_line_is_read_at_once(served: Served, editor: EditorDriver):
    known = {line["id"] for line in served.lines(editor.page)}
    start(editor, 2).press("n")
    editor.wait_for_lines(len(known) + 1)
    editor.wait_until(lambda: all(x["text"] for x in served.lines(editor.page) if x["id"] not in known), seconds=90)


def regions_of(editor: EditorDriver) -> dict[int, list[list[float]]]:
    return {region["id"]: region["polygon"] for region in layout_of(editor)["regions"]}


def make_region(editor: EditorDriver) -> int:
    """A region around the second line, made by keys."""
    before = set(regions_of(editor))
    start(editor).press("m")
    editor.tab.locator(".region.chosen").wait_for()
    (made,) = set(regions_of(editor)) - before
    return made


def test_a_corner_of_a_region_is_moved_by_keys_and_moved_back(editor: EditorDriver):
    made = make_region(editor)
    before = regions_of(editor)[made]
    editor.press("p", "p", "ArrowUp", "ArrowUp")
    x, y = before[1]
    editor.wait_until(lambda: regions_of(editor)[made] == [before[0], [x, y - 8], *before[2:]])
    expect(editor.tab.locator("#announcer")).to_have_text("Corner 2 of 4")
    editor.press("Control+z")
    editor.wait_until(lambda: regions_of(editor)[made] == before)


def test_a_corner_of_a_region_is_deleted_by_keys_and_three_stay(editor: EditorDriver):
    made = make_region(editor)
    before = regions_of(editor)[made]
    editor.press("p", "Delete")
    editor.wait_until(lambda: regions_of(editor)[made] == before[1:])
    editor.press("p", "Delete")
    editor.tab.get_by_text("A region needs three corners").wait_for()
    assert regions_of(editor)[made] == before[1:]


def test_a_whole_region_is_moved_by_keys(editor: EditorDriver):
    made = make_region(editor)
    before = regions_of(editor)[made]
    editor.press("Shift+ArrowDown", "Control+Shift+ArrowRight")
    editor.wait_until(lambda: regions_of(editor)[made] == [[x + 25, y + 4] for x, y in before])


def test_keys_are_for_a_line_that_is_added_while_a_region_is_chosen(editor: EditorDriver):
    make_region(editor)
    before = regions_of(editor)
    known = {line["id"] for line in editor.served.lines(editor.page)}
    editor.press("n")
    editor.wait_for_lines(len(known) + 1)
    expect(editor.tab.locator(".region.chosen")).to_have_count(0)
    (added,) = (line for line in editor.served.lines(editor.page) if line["id"] not in known)
    editor.press("Shift+ArrowDown")
    editor.wait_until(lambda: line_of(editor, added["id"])["baseline"][0][1] == added["baseline"][0][1] + 4)
    editor.press("Delete")
    editor.wait_for_lines(len(known))
    assert regions_of(editor) == before


def test_a_region_that_would_cross_itself_is_refused_and_shown_as_it_was(editor: EditorDriver):
    made = make_region(editor)
    before = regions_of(editor)[made]
    (left, top), (_, _), (_, bottom), _ = before
    editor.press("p", *["Control+ArrowDown"] * (int((bottom - top) / 25) + 2), *["Control+ArrowRight"] * 2)
    editor.tab.locator(".toast.error", has_text="crosses itself").wait_for()
    assert regions_of(editor)[made] == before
    expect(editor.tab.locator(".region.chosen")).to_have_attribute("points", re.compile(f"^{left:g},{top:g} "))


def test_regions_are_put_in_another_order_with_their_lines_by_keys(editor: EditorDriver):
    lines = [line["id"] for line in editor.served.lines(editor.page)]
    made = make_region(editor)
    before = list(regions_of(editor))
    assert before[-1] == made
    editor.press("Alt+ArrowUp")
    editor.wait_until(lambda: list(regions_of(editor)) == [*before[:-2], made, before[-2]])
    places = {line["region_id"]: place for place, line in reversed(list(enumerate(layout_of(editor)["lines"])))}
    assert places[made] < places[before[-2]]
    editor.press("Control+z")
    editor.wait_until(lambda: list(regions_of(editor)) == before)
    assert [line["id"] for line in editor.served.lines(editor.page)] == lines
    editor.tab.screenshot(path=SHOTS / "region.png")


def test_a_region_that_is_marked_by_a_key_pressed_often_is_another_once_and_gets_its_lines_back(editor: EditorDriver):
    made = make_region(editor)
    version = editor.served.call("GET", f"pages/{editor.page}")["version"]
    outside = editor.served.lines(editor.page)[4]["id"]
    headers = {"If-Match": f'"{version}"'}
    editor.served.call("PATCH", f"lines/{outside}/layout?read=false", json={"region_id": made}, headers=headers)
    editor.tab.wait_for_timeout(500)  # the page hears of it
    before = [line["region_id"] for line in layout_of(editor)["lines"]]
    editor.press("k", "k", "k", "k")
    expect(editor.tab.locator("select[data-key=kind]")).to_have_value("picture")
    editor.wait_until(lambda: kind_of(editor, made) == "picture")
    assert [line["region_id"] for line in layout_of(editor)["lines"]].count(made) == before.count(made) - 1
    editor.press("Control+z")
    editor.wait_until(lambda: [line["region_id"] for line in layout_of(editor)["lines"]] == before)
    assert kind_of(editor, made) == "text"


def kind_of(editor: EditorDriver, region: int) -> str:
    return next(one["kind"] for one in layout_of(editor)["regions"] if one["id"] == region)


def test_what_is_moved_while_another_is_saved_is_saved_once_and_moved_back_by_itself(editor: EditorDriver):
    before = editor.served.lines(editor.page)
    first, second = before[1]["id"], before[2]["id"]
    moved: list[str] = []
    held: list[Any] = []

    def answer(route: Any) -> None:
        moved.append(route.request.url)
        if len(moved) == 1:
            held.append(route)
        else:
            route.continue_()

    editor.tab.route("**/lines/*/layout", answer)
    start(editor).press("Shift+ArrowDown")
    editor.wait_until(lambda: len(held) == 1)
    editor.press("ArrowDown", "Shift+ArrowDown")
    editor.tab.wait_for_timeout(800)  # until it is to be saved, too
    held[0].continue_()
    editor.wait_until(lambda: line_of(editor, second)["baseline"] != before[2]["baseline"])
    assert [url.rsplit("/", 2)[1] for url in moved] == [str(first), str(second)]
    editor.press("Control+z")
    editor.wait_until(lambda: line_of(editor, second)["baseline"] == before[2]["baseline"])
    assert line_of(editor, first)["baseline"] != before[1]["baseline"]
    editor.press("Control+z")
    editor.wait_until(lambda: line_of(editor, first)["baseline"] == before[1]["baseline"])


def test_a_point_that_another_has_taken_away_is_chosen_no_more(editor: EditorDriver):
    line = editor.served.lines(editor.page)[1]
    count = len(editor.served.lines(editor.page))
    start(editor).press("p", "p", "p")
    editor.tab.locator("[data-point='2'].chosen").wait_for()
    version = editor.served.call("GET", f"pages/{editor.page}")["version"]
    shape = {"baseline": [line["baseline"][0], line["baseline"][-1]], "polygon": line["polygon"]}
    headers = {"If-Match": f'"{version}"'}
    editor.served.call("PATCH", f"lines/{line['id']}/layout?read=false", json=shape, headers=headers)
    expect(editor.tab.locator("[data-point]")).to_have_count(2)
    editor.press("s")
    editor.wait_for_lines(count + 1)
