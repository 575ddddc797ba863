"""Writing files: whole or not at all."""

import os
from pathlib import Path

from quillread.errors import OutputError


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all; missing folders are made.

    Devices and pipes, such as /dev/stdout, are written to as they are.

    Raises:
        OutputError: If it cannot be written; a file that stood there before is then left as it was.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, because only within one file system is the move a single step.
        part = path.parent / f".{os.getpid()}.{path.name[-64:]}.part"
        try:
            part.write_bytes(content)
            part.replace(path)
        finally:  # Ctrl-C too
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}",
            hint="check the path, the free space and the permissions",
        ) from error
