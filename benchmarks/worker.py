"""A process that answers questions, each a line of JSON: what is compared runs in processes of their own."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Any, Self, cast


class Worker:
    """The asking side; leaving the context ends the process.

    Args:
        command: The process. It reads questions from stdin, writes answers to stdout, and ends with its input; its
            first line out comes unasked.
        environment: Its environment.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", env=environment
        )
        self._questions, self._answers = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        self.facts = self._receive()
        """What it said unasked."""

    def ask(self, **question: object) -> dict[str, Any]:
        """Ask, and wait for the answer."""
        print(json.dumps(question), file=self._questions, flush=True)
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise SystemExit("a worker ended early; its message stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._questions.close()
        self._process.wait()
