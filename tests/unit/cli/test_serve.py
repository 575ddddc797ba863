"""What `quill serve` takes, before there is a server."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from quillread.cli.main import main, make_parser
from quillread.cli.serve_options import command_actor, make_config
from quillread.errors import ConfigError, MissingExtraError
from quillread.serve.archive.home import Archive
from quillread.serve.config import ServeConfig


def config_of(*arguments: object) -> ServeConfig:
    argv = ["serve", *map(str, arguments)]
    return make_config(make_parser(argv).parse_args(argv))


def test_without_options_it_is_for_the_one_person_at_this_machine():
    config = config_of()
    assert config == ServeConfig()
    assert config.is_local
    assert not config.needs_accounts


def test_a_file_is_changed_by_settings_and_these_by_flags(tmp_path: Path):
    file = tmp_path / "serve.yaml"
    text = "port: 1\nhost: 127.0.0.2\nallowed_hosts: [a.example]\nlimits: {pages: 7, queued_jobs: 8}\n"
    file.write_text(text, encoding="utf-8")
    flags = ("--config", file, "--set", "limits.pages=9", "--set", "port=2", "--port", 3, "--allowed-host", "b.example")
    config = config_of(*flags)
    assert (config.port, config.host, config.allowed_hosts) == (3, "127.0.0.2", ("a.example", "b.example"))
    assert (config.limits.pages, config.limits.queued_jobs) == (9, 8)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--port", "99999"], "port must be 0 to 65535"),
        (["--root-path", "quill/"], "root_path begins with /"),
        (["--tls-key", "x.pem"], "belong together"),
        (["--set", "limits.page=7"], "did you mean 'pages'"),
        (["--set", "limits.pages=0"], "must be above 0"),
        (["--set", "prot=7"], "did you mean 'port'"),
        (["--workers", "-1"], "workers must be at least 0"),
        (["--config", "missing.yaml"], "cannot be read"),
    ],
)
def test_settings_that_cannot_be_are_refused(flags: list[str], told: str):
    with pytest.raises(ConfigError, match=told):
        config_of(*flags)


@pytest.mark.parametrize(
    "flags",
    [
        ["--host", "0.0.0.0"],
        ["--host", "::"],
        ["--host", "a.example"],
        ["--behind-proxy"],
        ["--allowed-host", "a.example"],
    ],
)
def test_accounts_are_needed_wherever_others_may_call(flags: list[str]):
    assert config_of(*flags).needs_accounts


def test_where_the_archive_is_may_stand_before_or_behind_an_action():
    for argv in (["serve", "--data", "x", "users", "list"], ["serve", "users", "list", "--data", "x"]):
        assert make_parser(argv).parse_args(argv).data == Path("x")


def test_without_the_extra_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    real = importlib.import_module

    def lacks(name: str, package: str | None = None) -> ModuleType:
        if name == "fastapi":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", lacks)
    assert main(["serve", "--data", str(tmp_path)]) == MissingExtraError.exit_code
    told = capsys.readouterr().err
    assert "needs the Python package 'fastapi'" in told
    assert "pip install 'quillread[serve]'" in told
    with pytest.raises(SystemExit) as end:
        main(["serve", "--help"])
    assert end.value.code == 0


def test_its_help_imports_nothing_of_the_server():
    code = (
        "import sys\nfrom quillread.cli.main import main\n"
        "try: main(['serve', '--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('fastapi', 'sqlalchemy', 'uvicorn', 'numpy', 'cv2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("stdin", ["", "short\n", "anna\n"])
def test_a_password_that_is_none_makes_no_account(
    stdin: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    import io

    place = ["--data", str(tmp_path)]
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    assert main(["serve", "users", "add", "anna", "--role", "admin", *place]) == 2
    assert "a password has 8 to 1,000 characters" in capsys.readouterr().err
    assert main(["serve", "users", "list", *place]) == 0
    assert capsys.readouterr().out == ""


def test_whoever_has_no_name_is_a_number_in_the_log(monkeypatch: pytest.MonkeyPatch):
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 4321")

    monkeypatch.setattr("getpass.getuser", unknown)
    monkeypatch.setattr("os.getuid", lambda: 4321)
    assert command_actor().name == "user 4321 (command line)"


@pytest.mark.parametrize("action", [["check"], ["usage"], ["users", "list"], ["backup", "b.tar"]])
def test_a_damaged_database_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], action: list[str]
):
    monkeypatch.chdir(tmp_path)
    Archive(ServeConfig(data=Path("data"))).close()
    with Path("data/archive.db").open("r+b") as file:  # its first page, which says what tables there are, stays
        file.seek(4096)
        file.write(b"?" * (Path("data/archive.db").stat().st_size - 4096))
    assert main(["serve", *action, "--data", "data"]) == 3
    told = capsys.readouterr().err
    assert "archive.db: is damaged: " in told
    assert "hint: put a backup into a new archive" in told
    assert "internal error" not in told
