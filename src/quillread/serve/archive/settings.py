"""Settings of a collection."""

import json
from collections.abc import Mapping
from typing import Any

from quillread.config import build
from quillread.errors import ConfigError
from quillread.images.document import ReadConfig
from quillread.language.catalog import AUTO, SHIPPED_LANGUAGES, split_weight
from quillread.models.catalog import AUTO as AUTO_MODEL
from quillread.models.catalog import SHIPPED
from quillread.options import ReadOptions
from quillread.pages.segment import SEGMENTERS
from quillread.serve.faults import RequestError, TooLargeError

_MOST_BYTES = 100_000
_OURS = ("threads", "segmentation", "lexicons")
"""Options that are about the server, or name files."""


def check_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Check settings of a collection before they are kept.

    Raises:
        RequestError: If options in it are unknown or out of range.
        TooLargeError: If it is all too much.
    """
    try:
        size = len(json.dumps(settings, allow_nan=False, ensure_ascii=False).encode())
    except ValueError as error:  # databases would keep it, but no answer can hold it
        raise RequestError(f"settings hold a number or a character that JSON does not have: {error}") from error
    if size > _MOST_BYTES:
        raise TooLargeError(f"settings of a collection may have {_MOST_BYTES:,} bytes")
    options = settings.get("options", {})
    if not isinstance(options, dict):
        raise RequestError(f"settings.options: expected an object, got {type(options).__name__}")
    read_options(options)
    return dict(settings)


def read_options(options: Mapping[str, Any], *, is_one_file: bool = False) -> ReadOptions:
    """The options of a reading, of those that a request or a collection names.

    Args:
        options: As they are named.
        is_one_file: Whether one file is read, of which pages can be chosen.

    Raises:
        RequestError: If they are unknown, out of range, or not for requests.
    """
    for name in _OURS if is_one_file else (*_OURS, "pages"):
        if name in options:
            raise RequestError(f"options.{name} is not for requests")
    files = options.get("read")
    if isinstance(files, Mapping) and "web" in files:
        raise RequestError("options.read.web is not for requests", hint="quill serve --set web.allow=...")
    try:
        read = build(ReadOptions, options, "options")
    except ConfigError as error:
        raise RequestError(error.message, hint=error.hint) from error
    for name in ("max_pixels", "max_memory", "max_seconds"):
        most = getattr(ReadConfig(), name)
        if getattr(read.read, name) > most:
            raise RequestError(f"options.read.{name} may be at most {most:,}, got {getattr(read.read, name):,}")
    _check_names(read)
    return read


def _check_names(options: ReadOptions) -> None:
    """Refuse names of files of the server and of models that would have to be downloaded.

    Raises:
        RequestError: Naming the option.
    """
    languages = [split_weight(name)[0] for name in options.lm or ()]
    for option, names, known in (
        ("models", options.models, (*SHIPPED, AUTO_MODEL)),
        ("lm", languages, (*SHIPPED_LANGUAGES, AUTO, "none")),
        ("segmenter", [options.segmenter], tuple(SEGMENTERS)),
    ):
        for name in names:
            if name not in known and not (option == "models" and name.startswith("archive:")):
                hint = f"there are: {', '.join(known)}"
                hint += "; and models of the archive, as archive:NAME" if option == "models" else ""
                raise RequestError(f"options.{option}: {name!r} is not available here", hint=hint)
