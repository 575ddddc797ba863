"""Results of slow image steps, kept on disk by content."""

import hashlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from quillread.config import dump
from quillread.errors import OutputError
from quillread.files import write_atomic
from quillread.types import UInt8Image

_FAST = 1
"""Level of compression: higher ones save a tenth and take several times as long."""


class StepCache:
    """Keeps what a step made of an image; several processes, on several machines, may share the folder.

    An entry is named after everything that its content depends on, so it never grows old. One that is damaged is
    computed and written anew.

    Args:
        folder: Where the entries lie, in subfolders; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def result(self, image: UInt8Image, settings: Any, step: Callable[[UInt8Image, Any], UInt8Image]) -> UInt8Image:
        """Look up `step(image, settings)`; compute and keep it if it is not there.

        Args:
            image: uint8, any shape.
            settings: A dataclass with the settings of the step; its type stands for the step.
            step: Gives a uint8 image of the same shape.

        Raises:
            OutputError: If the result cannot be kept.
        """
        path = self._path(image, settings)
        found = _read(path, image.shape)
        if found is not None:
            return found
        result = step(image, settings)
        try:
            write_atomic(path, zlib.compress(np.ascontiguousarray(result).data, _FAST))
        except OutputError:
            # On a shared disk, another machine may have written the same content under the same temporary name.
            if _read(path, image.shape) is None:
                raise
        return result

    def _path(self, image: UInt8Image, settings: Any) -> Path:
        facts = [type(settings).__name__, dump(settings), image.shape, cv2.__version__]
        key = hashlib.blake2b(json.dumps(facts).encode(), digest_size=20)
        key.update(np.ascontiguousarray(image).data)
        name = key.hexdigest()
        return self.folder / name[:2] / name[2:]


def _read(path: Path, shape: tuple[int, ...]) -> UInt8Image | None:
    """Read an entry; None if there is none, or it is not whole."""
    try:
        pixels = zlib.decompress(path.read_bytes())
        # A copy, because pixels that lie in bytes could not be written to.
        return np.frombuffer(pixels, np.uint8).reshape(shape).copy()
    except (OSError, zlib.error, ValueError):
        return None
