"""States and jobs for worker processes, which import them by name."""

import logging
import mmap
import os
import re
import signal
import sys
import time
from pathlib import Path

import numpy as np

from quillread.errors import ModelError

log = logging.getLogger("quillread.tests")


class UnpicklableError(Exception):
    """An exception that cannot be built again from its pickle."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def nothing() -> None:
    """Need no state."""


def pid() -> int:
    log.warning("made")
    return os.getpid()


def missing_model() -> None:
    raise ModelError("model 'x' is unknown", hint="run quill models")


def bug() -> None:
    raise ZeroDivisionError("by zero")


def dying_start(log_file: Path) -> None:
    with log_file.open("a", encoding="utf-8") as file:
        file.write("start\n")
    os._exit(9)


def dying_first_start(mark: Path) -> None:
    if not mark.exists():
        mark.touch()
        os._exit(9)


def work_with(state: object, job: tuple[str, object]) -> object:
    """Do a job by its name."""
    name, argument = job
    return globals()[name](state, argument)


def echo(state: object, argument: object) -> object:
    return argument


def see_state(state: object, argument: object) -> object:
    return state


def own_pid(state: object, argument: object) -> int:
    return os.getpid()


def pause(state: object, seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def hang(state: object, argument: object) -> None:
    """Hold the interpreter's lock, practically for ever."""
    re.match(r"(a+)+$", "a" * 60 + "b")


def leave(state: object, code: int) -> None:
    os._exit(code)


def exit_python(state: object, code: int) -> None:
    sys.exit(code)


def crash(state: object, argument: object) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def be_killed(state: object, argument: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def allocate(state: object, size: int) -> int:
    return len(bytearray(size))


def enlarge(state: object, size: int) -> None:
    import cv2

    cv2.resize(np.zeros((10, 10, 3), np.uint8), (size, size))


def share(state: object, size: int) -> None:
    """Occupy memory that no limit of private memory counts, then wait to be ended."""
    memory = mmap.mmap(-1, size)
    while memory.write(bytes(1 << 20)) and memory.tell() < size:
        pass
    time.sleep(600)


def refuse(state: object, argument: object) -> None:
    raise ModelError("page 3 is upside down", hint="turn it")


def divide(state: object, argument: float) -> float:
    return 1 / argument


def raise_unpicklable(state: object, argument: object) -> None:
    raise UnpicklableError("left", "right")


def give_unpicklable(state: object, argument: object) -> object:
    return lambda: None


def warn(state: object, text: str) -> None:
    log.debug("not of interest")
    log.warning("%s is dirty", text)
    logging.getLogger("other").warning("also %s", text)


def image(state: object, size: tuple[int, ...]) -> np.ndarray:
    return np.full(size, 7, np.uint8)


def environment(state: object, name: str) -> str | None:
    return os.environ.get(name)


def search_path(state: object, argument: object) -> list[str]:
    return sys.path


def read_input(state: object, argument: object) -> str:
    return sys.stdin.read()
