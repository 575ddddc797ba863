import pytest

from quillread.evaluate.language_tuning import Damage, count_damage


@pytest.mark.parametrize(
    ("before", "after", "damage"),
    [
        ("the ald man", "the old man", Damage(1, 0)),
        ("the old man", "the ald man", Damage(0, 1)),
        ("the ald mun", "the old mon", Damage(1, 0)),
        ("tho old man", "the old men", Damage(1, 1)),
        ("the old man", "the old man", Damage(0, 0)),
        ("theold man", "the old man", Damage(2, 0)),
    ],
)
def test_words_mended_and_broken_are_counted(before: str, after: str, damage: Damage):
    assert count_damage(["the old man"], [before], [after]) == damage


def test_lines_add_up():
    assert count_damage(["a", "b"], ["x", "b"], ["a", "y"]) == Damage(1, 1)
