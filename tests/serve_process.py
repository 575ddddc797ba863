"""A server in a process of its own, for tests that kill it: python -c "import serve_process; serve_process.main()"."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from serve_readers import frail

from quillread.serve.config import ServeConfig
from quillread.serve.server import run_server

_ADDRESS = re.compile(r"http://\S+/")


class ServerProcess:
    """A server with readers that read the same on all pages; it starts when it is entered.

    Args:
        data: Folder of the archive.
        database: Address of a PostgreSQL database; SQLite if not given.
    """

    def __init__(self, data: Path, database: str | None) -> None:
        self._data = data
        self._database = database

    def __enter__(self) -> Self:
        """Start it, and wait until it answers."""
        path = os.pathsep.join(str(Path(part).resolve()) for part in sys.path if part)
        command = "import serve_process; serve_process.main()"
        self._log = (self._data.parent / "server.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-c", command, str(self._data), self._database or ""],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = _ADDRESS.search(line)
        assert found, f"the server did not start: {(self._data.parent / 'server.log').read_text(encoding='utf-8')}"
        self.address = found[0]
        return self

    def kill(self) -> None:
        """End it at once, as a power failure does."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._log.close()


def main() -> None:
    """Serve an archive until a signal comes."""
    data, database = sys.argv[1:]
    config = ServeConfig(Path(data), port=0, database=database or None, workers=1)
    run_server(config, lambda address: print(address, flush=True), frail)
