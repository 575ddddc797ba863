"""A PostgreSQL server of its own for tests, started from the system's programs as a user that is not root."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest

REQUIRED = "QUILLREAD_REQUIRES_POSTGRES"
"""Environment variable that turns a server that is missing from a skip into a failure."""
_number = count(1)


def find_programs() -> Path | None:
    """Folder of `initdb` and `postgres`, of the latest version; None if there is none."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


@contextmanager
def postgres_server() -> Iterator["Server"]:
    """Start a server; skip the test if there is none to start, unless it is required."""
    programs = find_programs()
    if programs is None:
        if os.environ.get(REQUIRED):
            pytest.fail("PostgreSQL is required and not installed")
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="quillread-postgres-") as name:
        server = Server(programs, Path(name))
        server.start()
        try:
            yield server
        finally:
            server.stop()


class Server:
    """A server that listens on a socket in its folder only."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self.folder = folder
        if os.geteuid() == 0:  # which it refuses
            os.chown(folder, *self._user())
        self._run(
            "initdb", "-D", folder / "data", "-U", "quill", "-E", "UTF8", "--no-locale", "-A", "trust", "--no-sync"
        )

    def start(self) -> None:
        """Start it, or start it again."""
        settings = {"listen_addresses": "", "unix_socket_directories": self.folder, "max_connections": 200}
        # What is written is lost with the folder anyway, and a log of a gigabyte may not fit beside it.
        settings |= {"fsync": "off", "wal_level": "minimal", "max_wal_senders": 0, "max_wal_size": "64MB"}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._run("pg_ctl", "-D", self.folder / "data", "-l", self.folder / "server.log", "-o", options, "-w", "start")

    def stop(self) -> None:
        """Stop it; connections break."""
        self._run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "-w", "stop")

    def make_database(self, like: str | None = None) -> str:
        """The address of a new database, empty or as another one whose address is given, which nobody may use."""
        template = like.partition("@/")[2].partition("?")[0] if like else "template0"
        name = f"test{next(_number)}"
        with psycopg.connect(host=str(self.folder), user="quill", dbname="postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return f"postgresql://quill@/{name}?host={self.folder}"

    def drop_database(self, address: str) -> None:
        """Delete a database, whoever is connected to it: each takes 10 MB."""
        name = address.partition("@/")[2].partition("?")[0]
        with psycopg.connect(host=str(self.folder), user="quill", dbname="postgres", autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    @staticmethod
    def _user() -> tuple[int, int]:
        for name in ("postgres", "nobody"):
            try:
                user = pwd.getpwnam(name)
            except KeyError:
                continue
            return user.pw_uid, user.pw_gid
        raise AssertionError("no user to run PostgreSQL as")

    def _run(self, program: str, *arguments: object) -> None:
        user: dict[str, object] = {}
        if os.geteuid() == 0:
            uid, gid = self._user()
            user = {"user": uid, "group": gid, "extra_groups": []}
        command = [str(self._programs / program), *map(str, arguments)]
        log = self.folder / f"{program}.log"  # a pipe would be held open by the server
        with log.open("wb") as output:
            done = subprocess.run(  # type: ignore[call-overload]
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **user
            )
        assert done.returncode == 0, f"{program} failed: {log.read_text(errors='replace')}"
