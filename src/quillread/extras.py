"""Optional imports: a clear hint instead of a bare ImportError."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
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
        raise _missing(module, extra) from error


def require_installed(modules: Iterable[str], extra: str) -> None:
    """Check that optional modules are installed without importing them, for those that heed how they are imported.

    Raises:
        MissingExtraError: If one is not installed.
    """
    for module in modules:
        if module not in sys.modules and importlib.util.find_spec(module) is None:
            raise _missing(module, extra)


def require_figures() -> ModuleType:
    """Import `matplotlib.figure`, which draws and saves figures.

    When it is first imported, matplotlib writes a list of the machine's fonts below the user's folder, and makes a
    folder for settings there. Here it has a temporary one, unless it is imported already, or MPLCONFIGDIR names one.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    if "matplotlib" in sys.modules or "MPLCONFIGDIR" in os.environ:
        return require("matplotlib.figure", "train")
    with TemporaryDirectory(prefix="quillread-matplotlib-") as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            return require("matplotlib.figure", "train")
        finally:
            del os.environ["MPLCONFIGDIR"]


def require_fonts() -> Path:
    """Find the folder of the fonts that matplotlib brings, without importing it.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    found = importlib.util.find_spec("matplotlib")
    if found is None or not found.submodule_search_locations:
        raise _missing("matplotlib", "train")
    return Path(found.submodule_search_locations[0], "mpl-data", "fonts", "ttf")


def _missing(module: str, extra: str) -> MissingExtraError:
    return MissingExtraError(
        f"this needs the Python package {module!r}, which is not installed", hint=installing(extra)
    )


def installing(extra: str) -> str:
    """Tell how to install an extra of this package."""
    how = f"pip install 'quillread[{extra}]'"
    # By itself pip brings the build for NVIDIA cards on Linux: gigabytes that most machines have no use for.
    return how + ("; without an NVIDIA card install the CPU build of torch first" if extra == "train" else "")
