"""Lines that are known already: PAGE or ALTO files as the segmentation."""

import logging
from pathlib import Path

from quillread.errors import DataError, ImageError
from quillread.formats.ground_truth import GroundTruth, image_name, open_layout
from quillread.formats.outlines import outline_lines
from quillread.types import Page, Region

log = logging.getLogger(__name__)


class GivenLayouts:
    """Segmentations from a PAGE or ALTO file, or from a folder of them; see `GroundTruth.find` for which is taken.

    Args:
        where: A file or folder.

    Raises:
        DataError: If it is neither, or holds no XML.
    """

    def __init__(self, where: Path) -> None:
        self._truth = GroundTruth(where)

    def find(self, source: str, number: int, count: int, size: tuple[int, int]) -> tuple[Region, ...]:
        """Return the regions of a page.

        Args:
            source: The input as the user named it.
            number: Of the page, from 1.
            count: Pages of the input.
            size: Width and height of the page in pixels.

        Raises:
            DataError: If the lines of the page are not known.
            ImageError: If they are those of an image of another size.
        """
        path = self._truth.find(source, number, count)
        page = open_layout(path)
        if page is None:
            raise DataError(f"{path}: is neither PAGE nor ALTO", hint="export the segmentation as PAGE or ALTO")
        if self._truth.is_file:
            _tell_other_image(source, path, page)
        if (page.width, page.height) != size:
            raise ImageError(
                f"the image has {size[0]} x {size[1]} pixels, {path} is about one of {page.width} x {page.height}",
                hint="read the image that the lines were drawn on",
            )
        return outline_lines(page).regions


def _tell_other_image(source: str, path: Path, page: Page) -> None:
    """Warn of a segmentation that names another image. Stdin has no name, and that of an address means little."""
    named = image_name(page)
    # The same scan may be there in another format.
    if named and source != "-" and "://" not in source and Path(named).stem != Path(source).stem:
        log.warning("%s: is read with the lines of %s, which names %s", source, path, named)
