"""Correcting a page with the keyboard alone, against the real server with what the built-in model has read."""

from browsing import EditorDriver


def test_enter_takes_a_line_as_right_and_goes_to_the_next(editor: EditorDriver):
    editor.open()
    assert editor.place == 0
    editor.press("Enter")
    assert editor.place == 1
    first, second, *_ = editor.saved()
    assert first["checked"] and first["kind"] == "person"
    assert not second["checked"]
