"""Which image a PAGE or ALTO file is about: beside it, where the file says, or in a folder beside its own."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from quillread.errors import DataError, ImageError
from quillread.images.read import is_readable_name, open_document
from quillread.types import Page

FOLDERS = ("page", "alto")
"""Folders beside the images, in which Transkribus puts its XML: they say nothing of which image is meant."""
_SUFFIX = re.compile(r"(\.(page|alto))?\.xml$", re.IGNORECASE)
_PAGED = (".pdf", ".tif", ".tiff")
"""Of images that may have several pages."""
_WORKSPACE = "mets.xml"
"""Lies in the top folder of a workspace of OCR-D, from which the paths in its PAGE files start."""
_MOST_ABOVE = 3
"""Folders between a file and the top of its workspace."""


def layout_stem(path: Path) -> str:
    """The name of a PAGE or ALTO file without its suffixes."""
    return _SUFFIX.sub("", path.name)


def image_names(page: Page) -> tuple[str, ...]:
    r"""The image that a file names, without its folders, which may be those of another machine.

    Returns:
        Nothing if it names none. Two names if there is a `\`: it parts folders in Windows, and may stand in a name.
    """
    names = (page.source.rpartition("/")[2], re.split(r"[/\\]", page.source)[-1])
    return tuple(dict.fromkeys(name for name in names if name))


class PageImages:
    """The images of PAGE and ALTO files; each folder is listed once. Upper and lower case count as equal.

    Args:
        top: The folder that was named: what lies in it may be taken, wherever it is.
    """

    def __init__(self, top: Path) -> None:
        self._top = top
        self._listed: dict[Path, _Folder] = {}
        self._counts: dict[Path, int] = {}

    def find(self, path: Path, page: Page) -> Path:
        """Find the image of a file.

        It is beside the file, or above it if its folder is `page` or `alto`: of its stem, or else of the name that it
        says, or else with further suffixes, as `0001.nrm.png` for `0001.xml`. If there is none, it is where the file
        says, or else in another folder of the folder above, if it is in one of them only.

        Raises:
            DataError: If there is none, or several.
        """
        above = path.parent.parent
        for place in (path.parent, *([above] if path.parent.name in FOLDERS else [])):
            if image := self._in(place).find(path, page):
                return image
        if image := self._follow(path, page.source):
            return image
        found = {image for place in self._around(path) if (image := self._in(place).find(path, page))}
        if len(found) == 1:
            return found.pop()
        if found:
            several = ", ".join(sorted(map(str, found)))
            raise DataError(f"{path}: has several images of its name: {several}", hint="put its image beside it")
        said = f", and names {page.source!r}, which is not there" if image_names(page) else ""
        hint = "put the image beside it, or name the folder that holds both"
        raise DataError(f"{path}: has no image of its name beside it{said}", hint=hint)

    def number(self, path: Path, image: Path) -> int:
        """Tell which page of its image a file is about: of `letter.pdf` the third one if its name is `letter-0003.xml`.

        1 if the image has not so many pages: the number is then part of another name.
        """
        found = re.fullmatch(rf"{re.escape(image.stem)}-(\d{{4,9}})", layout_stem(path), re.IGNORECASE)
        if found is None or image.suffix.lower() not in _PAGED:
            return 1
        if image not in self._counts:
            try:
                with open_document(image) as document:
                    self._counts[image] = len(document)
            except ImageError:
                self._counts[image] = 1  # said when it is to be read
        return number if 1 < (number := int(found[1])) <= self._counts[image] else 1

    def _in(self, place: Path) -> "_Folder":
        if place not in self._listed:
            self._listed[place] = _Folder(place)
        return self._listed[place]

    def _follow(self, path: Path, source: str) -> Path | None:
        """Follow the path that a file says, from its folder or the top of its workspace, to no place beyond.

        Whoever made the file was not asked for the images of this machine: what lies neither in the folder that was
        named nor in the one above that of the file is not opened.
        """
        named = PurePosixPath(source.removeprefix("file://").replace("\\", "/"))
        tops = [self._top, path.parent.parent, *_workspace(path)]
        for start in (path.parent, *tops):
            image = Path(os.path.normpath(start / named))
            try:
                is_within = any(image.resolve().is_relative_to(top.resolve()) for top in tops)
                if is_within and is_readable_name(image) and image.is_file():
                    return image
            except (OSError, RuntimeError, ValueError):
                continue  # a name that the file system cannot hold, or links in a circle
        return None

    def _around(self, path: Path) -> Iterator[Path]:
        """The folder above that of a file and the folders in it, if they belong to what was named."""
        above = path.parent.parent
        if path.parent != self._top and above.is_relative_to(self._top):
            yield above
            with suppress(OSError):  # a folder that may not be listed: said when it is to be read
                yield from sorted(place for place in above.iterdir() if place.is_dir())


def _workspace(path: Path) -> list[Path]:
    """The top of the workspace that a file lies in, if it lies in one."""
    return [place for place in path.parents[:_MOST_ABOVE] if (place / _WORKSPACE).is_file()][:1]


class _Folder:
    """The images of a folder by their names, and by what their names begin with before a dot."""

    def __init__(self, place: Path) -> None:
        self._named: dict[str, list[Path]] = {}
        self._begun: dict[str, list[Path]] = {}
        try:
            images = sorted(image for image in place.iterdir() if is_readable_name(image) and image.is_file())
        except OSError:
            images = []  # said when the folder is to be read
        for image in images:
            name = image.name.casefold()
            self._named.setdefault(name, []).append(image)
            for dot in re.finditer(r"\.", name):
                self._begun.setdefault(name[: dot.start()], []).append(image)

    def find(self, path: Path, page: Page) -> Path | None:
        stem, names = layout_stem(path), image_names(page)
        named = [image for name in names for image in self._named.get(name.casefold(), ())]
        begun = self._begun.get(stem.casefold(), [])
        own = [image for image in begun if image.stem.casefold() == stem.casefold()]
        for images in (own, named, begun):
            if images:
                # Of several, as a.jpg and a.png, that which is named; of those, that in the same case.
                return min(images, key=lambda image: (image not in named, image.name not in names, image.stem != stem))
        return None
