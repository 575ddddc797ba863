"""Pillow without its warnings and its own limit of pixels."""

import threading
import warnings
from contextlib import ExitStack

from PIL import Image


class QuietPillow:
    """While it is entered, Pillow neither warns nor applies its own pixel limit (ours is checked instead).

    Both are settings of the whole process, so entries are counted: the first one in any thread changes them,
    the last one out puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries = 0
        self._undo = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._entries == 0:
                self._undo.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"PIL\.")
                self._undo.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
                Image.MAX_IMAGE_PIXELS = None
            self._entries += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._entries -= 1
            if self._entries == 0:
                self._undo.close()


quiet_pillow = QuietPillow()
