import pytest

from quillread.text.marks import Mark, as_written, find_marks, without_signs


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("plain [a] (b) <c>", []),
        ("a ⟦b c⟧ d", [Mark("struck", 2, 7)]),
        ("⸌above⸍ […]", [Mark("added", 0, 7), Mark("illegible", 8, 11)]),
        ("d⟨omi⟩n⟨u⟩s", [Mark("expanded", 1, 6), Mark("expanded", 7, 10)]),
        ("⟦never closed", []),
    ],
)
def test_marks_are_found_where_they_stand(text: str, marks: list[Mark]):
    assert find_marks(text) == marks


def test_a_text_is_read_without_the_signs():
    assert without_signs("⟦old⟧ ⸌new⸍ d⟨omi⟩n⟨u⟩s […]") == "old new dominus […]"


def test_marks_within_marks_lose_their_signs_too():
    assert without_signs("⟦a ⸌b⸍ c⟧") == "a b c"


def test_what_an_editor_supplied_is_not_taught():
    assert as_written("d⟨omi⟩n⟨u⟩s ⟦vobis⟧") == "dns vobis"


def test_a_line_that_cannot_be_read_is_not_taught():
    assert as_written("dom[…] vobis") is None
