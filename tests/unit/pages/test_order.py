import tracemalloc

import pytest
from unit.pages.drawing import box_line

from quillread.pages.order import order_lines


def order(*boxes):
    """Index of each box in reading order, by region."""
    lines = [box_line(*box) for box in boxes]
    return [[lines.index(line) for line in region.lines] for region in order_lines(lines)]


def test_no_lines_give_no_regions():
    assert order_lines([]) == ()


def test_one_column_is_one_region_from_the_top_downwards():
    assert order((0, 200, 500, 240), (0, 0, 500, 40), (0, 100, 300, 140)) == [[1, 2, 0]]


def test_the_left_column_is_read_before_the_right_one():
    left = [(0, y, 400, y + 40) for y in (0, 100, 200)]
    right = [(500, y, 900, y + 40) for y in (10, 110, 210)]
    assert order(*right, *left) == [[3, 4, 5], [0, 1, 2]]


def test_a_date_on_the_right_is_read_before_the_letter_below_it():
    date, greeting, body = (600, 0, 900, 40), (0, 100, 300, 140), (0, 200, 900, 240)
    assert order(greeting, body, date) == [[2], [0, 1]]


def test_a_region_bounds_its_lines():
    (region,) = order_lines([box_line(10, 0, 300, 40), box_line(0, 100, 200, 150)])
    assert region.polygon.points == ((0, 0), (300, 0), (300, 150), (0, 150))


def test_notes_in_the_margin_come_last():
    text = [(300, y, 900, y + 40) for y in range(0, 800, 100)]
    notes = [(20, 210, 220, 240), (20, 260, 200, 290)]
    assert order(*notes, *text) == [[2, 3, 4, 5, 6, 7, 8, 9], [0, 1]]


def test_a_narrow_column_with_as_much_writing_is_no_note():
    left = [(0, y, 250, y + 40) for y in range(0, 800, 50)]
    right = [(300, y, 900, y + 40) for y in range(0, 800, 100)]
    assert order(*right, *left)[0][0] == len(right)


def test_a_page_number_above_the_text_is_no_note():
    number, text = (950, 0, 990, 30), [(0, y, 900, y + 40) for y in range(100, 500, 100)]
    assert order(*text, number)[0] == [len(text)]


def test_a_salutation_is_read_after_the_date_and_before_the_indented_first_line():
    date, first = (960, 100, 1494, 230), (570, 450, 1494, 570)
    salutation = (164, 330, 640, 470)
    body = [(150, y, 1407, y + 110) for y in range(580, 1200, 120)]
    assert [i for region in order(salutation, date, first, *body) for i in region] == [1, 0, 2, 3, 4, 5, 6, 7, 8]


def test_columns_over_a_common_last_line_stay_whole():
    left = [(0, y, 400, y + 40) for y in range(0, 300, 50)]
    right = [(500, y, 900, y + 40) for y in range(20, 500, 50)]
    footer = (0, 600, 900, 640)
    ordered = [i for region in order(*left, *right, footer) for i in region]
    assert ordered == list(range(len(left) + len(right) + 1))


def letters(x, y=0):
    """Boxes of two letters on one page, in reading order: date, salutation, text."""
    boxes = []
    for top in (y, y + 460):
        boxes += [(x + 500, top, x + 800, top + 30), (x, top + 50, x + 350, top + 80)]
        boxes += [(x, top + 100 + 50 * row, x + 800, top + 130 + 50 * row) for row in range(6)]
    return boxes


@pytest.mark.parametrize("drop", [-60, 0, 30])
def test_the_left_page_of_an_open_book_is_read_before_the_right_one(drop):
    left, right = letters(100, 100), letters(1100, 100 + drop)
    ordered = [i for region in order(*right, *left) for i in region]
    assert set(ordered[: len(left)]) == set(range(len(right), len(right) + len(left)))


def test_pages_of_an_open_book_keep_the_order_that_each_has_by_itself():
    page = letters(100)
    alone = order(*page)
    spread = order(*page, *letters(1100))
    assert spread == [*alone, *([i + len(page) for i in region] for region in alone)]


def test_names_in_the_margins_of_an_open_register_follow_the_text_of_their_own_page():
    names = [(x, y, x + 150, y + 30) for x in (100, 1100) for y in (100, 400)]
    acts = [(x, y + 50 * row, x + 600, y + 50 * row + 30) for x in (300, 1300) for y in (100, 400) for row in range(5)]
    assert [region[0] for region in order(*names, *acts)] == [4, 0, 14, 2]


def test_an_address_on_the_left_page_of_an_open_book_is_no_note_of_the_right_one():
    address = [(350, y, 680, y + 30) for y in (400, 450, 500)]
    text = [(1100, y, 1900, y + 30) for y in range(100, 800, 50)]
    assert order(*text, *address)[0] == [14, 15, 16]


def test_a_few_lines_as_long_as_those_of_the_right_page_are_a_page():
    left = [(100, 300, 400, 330), (500, 410, 900, 440), (100, 550, 400, 580)]
    right = [(1000, y, 1800, y + 30) for y in range(100, 800, 50)]
    assert order(*right, *left)[-1][0] == 0


def test_a_heading_across_both_pages_of_an_open_book_comes_before_them_and_a_footer_after_them():
    heading, footer = (300, 0, 1700, 30), (300, 1200, 1700, 1230)
    page = letters(100, 100)
    ordered = [i for region in order(footer, heading, *page, *letters(1100, 100)) for i in region]
    assert ordered[0] == 1
    assert set(ordered[1:17]) == set(range(2, 18))
    assert ordered[-1] == 0


def test_notes_beside_a_page_with_letters_are_read_after_it():
    notes = [(20, y, 220, y + 30) for y in (220, 270, 700)]
    assert order(*notes, *letters(300))[-1] == [0, 1, 2]


def test_thousands_of_lines_are_ordered_in_little_memory():
    boxes = [(x, y, x + 20, y + 12) for y in range(0, 1000, 20) for x in range(0, 1500, 30)]
    lines = [box_line(*box) for box in boxes]
    tracemalloc.start()
    try:
        assert sum(len(region.lines) for region in order_lines(lines)) == 2500
        assert tracemalloc.get_traced_memory()[1] < 30 << 20  # a number for each pair takes 25 MB
    finally:
        tracemalloc.stop()
