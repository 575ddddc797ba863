"""Optional imports: a clear hint instead of a bare ImportError."""

import importlib
from types import ModuleType

from quillread.errors import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module.

    Args:
        module: Dotted module name, such as "torch".
        extra: The extra of this package that installs it, such as "train".

    Raises:
        MissingExtraError: If the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"this needs the Python package {module!r}, which is not installed",
            hint=f"pip install 'quillread[{extra}]'",
        ) from error
