"""Pillow without its warnings and its own limit of pixels, and without what its library for TIFFs says."""

import threading
import warnings
from contextlib import ExitStack
from functools import cache
from pathlib import Path

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


@cache
def silence_libtiff() -> None:
    """Keep libtiff from writing to stderr, where it does not say which file it is about.

    What is wrong with a file comes as an error of Pillow all the same. Only the copy that Pillow brings is reached.
    """
    import ctypes  # most readings see no TIFF

    package = Path(Image.__file__).parent
    for path in (*package.parent.glob("[pP]illow.libs/libtiff*"), *package.glob(".dylibs/libtiff*")):
        library = ctypes.CDLL(str(path))  # the one that is loaded already
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)
