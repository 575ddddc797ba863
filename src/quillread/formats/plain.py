"""Plain text."""

from quillread.types import Reading


def to_text(reading: Reading) -> str:
    """The text of an input: a line of writing a line, an empty line between regions and pages.

    Returns:
        Text that ends in a newline, or an empty string if nothing was read.
    """
    return reading.text + "\n" if reading.text else ""
