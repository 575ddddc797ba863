"""The processes of one training, on one machine or on several: how many there are, and what they must agree on.

`torchrun` and `accelerate launch` start them and tell each by environment variables which one it is.
"""

import atexit
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from quillread.errors import ConfigError, OutputError, QuillreadError, TrainingError

T = TypeVar("T")

_PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others; reading the validation lines takes one of them longer than another."""
_LOOKS = 50
"""Times that a process looks for a file that another wrote: file systems of networks show it a little later."""
_LOST = ("gloo", "Connection closed by peer", "Connection reset by peer", "NCCL")


def count() -> int:
    """Processes of the training."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def count_here() -> int:
    """Those of them on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes and speaks for all."""
    return os.environ.get("RANK", "0") == "0"


def join() -> None:
    """Connect this process to the others; it waits for those that have not started yet.

    Raises:
        ConfigError: If they cannot be connected by what the environment says.
    """
    if count() > 1:
        atexit.register(_part)
        state = PartialState(cpu=not torch.cuda.is_available(), timeout=_PATIENCE)
        if state.num_processes != count():
            raise ConfigError(
                f"WORLD_SIZE says that {count()} processes train, but they are not connected",
                hint="start them with torchrun or accelerate launch, which say all that it takes",
            )


def _part() -> None:
    """Close what joins the processes; torch now and then aborts one that exits without doing so."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def naming_losses() -> Iterator[None]:
    """Say in words that another process, or its machine, was lost.

    Raises:
        TrainingError: If one was.
    """
    try:
        yield
    except RuntimeError as error:
        is_lost = isinstance(error, torch.distributed.DistError) or any(word in str(error) for word in _LOST)
        if count() == 1 or not is_lost:
            raise
        reason = " ".join(str(error).split())
        raise TrainingError(
            f"{socket.gethostname()}: lost the connection to another process of the training: {reason}",
            hint="see what the others say, and start all of them again, with --resume if there is a checkpoint",
        ) from error


def together(call: Callable[[], T]) -> T:
    """Do something in each process; what one of them cannot do ends all, so that none waits for one that has ended.

    Args:
        call: Does it.

    Returns:
        What came of it in this process.

    Raises:
        QuillreadError: That of this process, or else the first of the others, with the name of its machine.
    """
    if count() == 1:
        return call()
    failed: QuillreadError | None = None
    try:
        result = call()
    except QuillreadError as error:
        failed = error
    found = gather_object([(socket.gethostname(), failed)])
    if failed is not None:
        raise failed
    for machine, other in found:
        if other is not None:
            raise type(other)(f"{machine}: {other.message}", hint=other.hint)
    return result


def decided_by_first(value: T) -> T:
    """The value of the first process, in all of them."""
    decided: T = broadcast_object_list([value])[0] if count() > 1 else value
    return decided


def check_same(facts: Mapping[str, Any]) -> None:
    """Refuse a training whose processes do not train the same.

    Args:
        facts: What must be equal in all of them, by name; in one on each machine, and nothing in the others there.

    Raises:
        ConfigError: Naming the first machine that differs, and what differs there.
    """
    if count() == 1:
        return
    (first, wanted), *others = gather_object([(socket.gethostname(), dict(facts))])
    for machine, found in others:
        for name in found:
            if found[name] != wanted.get(name):
                told = f"{name} is {wanted.get(name)} on {first} and {found[name]} on {machine}"
                hint = "give all the same command, and each machine the same data"
                raise ConfigError(f"the processes of the training differ: {told}", hint=hint)


def is_first_here() -> bool:
    """Whether this process is the first on its machine."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def check_shared(folder: Path) -> None:
    """Refuse a folder of the run that not all machines share: each process writes its part of a checkpoint there.

    Raises:
        ConfigError: Naming the machines that do not see what the first process writes.
        OutputError: If it cannot write there.
    """
    if count() == count_here():
        return
    sign = folder / decided_by_first(f".quillread-{os.urandom(8).hex()}.shared")
    try:
        together(lambda: _write_sign(sign))
        machines = gather_object([None if _is_seen(sign) else socket.gethostname()])
    finally:
        if is_first():
            with suppress(OSError):  # why it is not there is being said
                sign.unlink()
    if blind := sorted({machine for machine in machines if machine}):
        raise ConfigError(
            f"{folder}: is not the same folder on all machines: what the first one writes is not seen on "
            f"{', '.join(blind)}",
            hint="name a folder that all machines share, such as one on NFS, by the same path",
        )


def _write_sign(sign: Path) -> None:
    try:
        # By each process: NFS goes on saying for a while that a folder is not there where it was looked for before.
        sign.parent.mkdir(parents=True, exist_ok=True)
        if is_first():
            sign.touch()
    except OSError as error:
        raise OutputError(f"{sign.parent}: cannot be written: {error.strerror or error}") from error


def _is_seen(sign: Path) -> bool:
    for _ in range(_LOOKS):
        if sign.exists():
            return True
        time.sleep(0.2)
    return False
