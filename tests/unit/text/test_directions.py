import pytest

from quillread.text.directions import has_leftward, is_leftward, visual_order


def seen(text: str, leftward: bool = True) -> str:
    return "".join(sign for _, sign in visual_order(text, leftward=leftward))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("אבג", "גבא"),
        ("א1876", "1876א"),
        ("א-3.5.1876", "3.5.1876-א"),
        ("10% א", "א 10%"),
        ("١٨٧٦ س", "س ١٨٧٦"),
        ("(אב)", "(בא)"),
        ("א [ב]", "[ב] א"),
        ("א New York ב", "ב New York א"),
        ("א, 12/13 ב", "ב 12/13 ,א"),
        ("", ""),
    ],
)
def test_numbers_and_latin_words_keep_their_order_in_a_line_from_right_to_left(text: str, expected: str):
    assert seen(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("abc (d) 1", "abc (d) 1"), ("to אבג (1)", "to (1) גבא"), ("to (אבג), 1.", "to (גבא), 1.")]
)
def test_letters_from_right_to_left_are_turned_in_a_line_from_left_to_right(text: str, expected: str):
    assert seen(text, leftward=False) == expected


def test_each_sign_has_its_place_in_the_text():
    assert visual_order("א(1)", leftward=True) == [(3, "("), (2, "1"), (1, ")"), (0, "א")]


@pytest.mark.parametrize(("text", "expected"), [("12 א b", True), ("(س", True), ("a א", False), ("12", False)])
def test_the_first_letter_gives_a_line_its_direction(text: str, expected: bool):
    assert is_leftward(text) is expected


def test_letters_from_right_to_left_are_found():
    assert has_leftward("a ب")
    assert not has_leftward("a 1 (é)")
