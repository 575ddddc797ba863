"""`quill` whose machine is lost during a training, with all its processes.

Started by `torchrun` as a script; `LOST` says at which step, in the second process.
"""

import os
import signal
from typing import Any

from quillread.cli.main import run_program
from quillread.train import finetune
from quillread.train.trainer import StopOnSignal


class Lost(StopOnSignal):
    """Ends this process and the one that started it, without a word, before a step."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Look at the step."""
        if args.process_index == 1 and state.global_step == int(os.environ["LOST"]):
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    finetune.StopOnSignal = Lost  # type: ignore[misc]
    raise SystemExit(run_program())
