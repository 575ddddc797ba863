import gc
import hashlib
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from quillread.errors import OutputError
from quillread.files import (
    AtomicFile,
    claim_folder,
    clear_parts,
    list_files,
    naming,
    open_own,
    real_path,
    release_folder,
    storable_name,
    write_atomic,
    write_json,
    write_text,
)


def test_a_file_is_written_with_its_folders(tmp_path: Path):
    path = tmp_path / "a" / "b" / "out.txt"
    write_atomic(path, b"text")
    assert path.read_bytes() == b"text"


def test_an_existing_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path):
    path = tmp_path / "out.txt"
    path.write_bytes(b"old and longer")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way_is_an_error_that_leaves_nothing_behind(tmp_path: Path):
    (tmp_path / "out.txt").mkdir()
    with pytest.raises(OutputError, match=r"out\.txt: cannot be written"):
        write_atomic(tmp_path / "out.txt", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        write_atomic(tmp_path / "file" / "out.txt", b"x")


def test_ctrl_c_while_writing_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "out.txt", b"x")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_a_file_is_made_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(path: Path, mode: str) -> None:
        path.touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patches:
        patches.setattr(Path, "open", interrupt)
        with pytest.raises(KeyboardInterrupt):
            AtomicFile(tmp_path / "out.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_nobody_commits_or_discards_goes_with_its_object(tmp_path: Path):
    part = AtomicFile(tmp_path / "out.txt")
    part.file.close()
    assert len(list(tmp_path.iterdir())) == 1
    del part
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="sets the umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_written_file_is_as_private_as_the_user_asks(umask: int, mode: int, tmp_path: Path):
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "out.txt", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "out.txt").stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.name != "posix", reason="makes a named pipe")
def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomic(pipe, b"text")
        assert os.read(end, 10) == b"text"
    finally:
        os.close(end)
    assert pipe.is_fifo()


def test_a_long_name_is_no_obstacle(tmp_path: Path):
    path = tmp_path / ("x" * 250)
    write_atomic(path, b"text")
    assert path.read_bytes() == b"text"


def test_a_file_stands_in_its_place_only_when_it_is_committed(tmp_path: Path):
    path = tmp_path / "deep" / "out.txt"
    part = AtomicFile(path)
    part.file.write(b"one ")
    assert not path.exists()
    part.file.write(b"two")
    part.commit()
    part.discard()
    assert [p.read_bytes() for p in path.parent.iterdir()] == [b"one two"]


def test_a_file_that_is_discarded_leaves_the_old_one(tmp_path: Path):
    path = tmp_path / "out.txt"
    path.write_bytes(b"old")
    part = AtomicFile(path)
    part.file.write(b"new")
    part.discard()
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_a_fault_of_the_file_system_names_the_file():
    with pytest.raises(OutputError, match=r"x\.txt: cannot be written: full\n  hint: "), naming(Path("x.txt")):
        raise OSError(28, "full")


def test_text_is_utf8_and_bytes_of_a_file_name_that_are_no_text_become_escapes(tmp_path: Path):
    write_text(tmp_path / "new" / "a.txt", "é \udcff\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "é \\udcff\n".encode()


def test_json_is_written_for_people_and_read_back(tmp_path: Path):
    document = {"source": "é.jpg", "pages": [1, None]}
    write_json(tmp_path / "a.json", document)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert '"source": "é.jpg"' in text
    assert text.endswith("}\n")
    assert json.loads(text) == document


def test_what_is_no_number_is_null_in_json(tmp_path: Path):
    write_json(tmp_path / "a.json", {"rates": [float("nan"), 0.5, (float("inf"),)], "of": {"none": float("nan")}})
    assert json.loads((tmp_path / "a.json").read_text()) == {"rates": [None, 0.5, [None]], "of": {"none": None}}


@pytest.mark.skipif(os.name != "posix", reason="needs locks")
def test_what_a_killed_program_left_is_cleared_and_what_is_being_written_stays(tmp_path: Path):
    write = "import os, sys; from pathlib import Path; from quillread.files import AtomicFile; from signal import *\n"
    write += "part = AtomicFile(Path(sys.argv[1])); part.file.write(b'half'); part.file.flush(); raise_signal(SIGKILL)"
    subprocess.run([sys.executable, "-c", write, str(tmp_path / "out.txt")])
    (tmp_path / "letter.part").touch()
    part = AtomicFile(tmp_path / "out.txt")
    assert len(list(tmp_path.glob(".quillread-*.part"))) == 2
    clear_parts(tmp_path)
    assert len(list(tmp_path.glob(".quillread-*.part"))) == 1
    part.file.write(b"whole")
    part.commit()
    assert {path.name for path in tmp_path.iterdir()} == {"out.txt", "letter.part"}


@pytest.mark.skipif(os.name != "posix", reason="needs locks")
def test_a_claimed_folder_is_free_again_though_a_process_that_was_forked_lives_on(tmp_path: Path):
    held = claim_folder(tmp_path)
    with pytest.raises(BlockingIOError):
        claim_folder(tmp_path)
    release_folder(held)
    fork = "import os, signal, sys; from pathlib import Path; from quillread.files import claim_folder\n"
    fork += "assert claim_folder(Path(sys.argv[1]))\n"
    fork += "if forked := os.fork():\n Path(sys.argv[2]).write_text(str(forked))\nelse: signal.pause()"
    subprocess.run([sys.executable, "-c", fork, str(tmp_path), str(tmp_path / "pid")], check=True)
    forked = int((tmp_path / "pid").read_text(encoding="utf-8"))
    try:
        release_folder(claim_folder(tmp_path))
    finally:
        os.kill(forked, signal.SIGKILL)


def test_there_is_nothing_to_clear_in_a_folder_that_is_not_there(tmp_path: Path):
    clear_parts(tmp_path / "none")


def test_the_content_of_a_file_is_told_before_it_stands_in_its_place(tmp_path: Path):
    told = []
    part = AtomicFile(tmp_path / "out.txt", lambda path, digest: told.append((path, digest, path.exists())))
    part.file.write(b"text")
    part.commit()
    assert told == [(tmp_path / "out.txt", hashlib.sha256(b"text").hexdigest(), False)]


@pytest.mark.skipif(os.name != "posix", reason="makes links and pipes")
@pytest.mark.parametrize("mode", ["rb", "ab", "wb"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_link_or_pipe_in_the_place_of_a_file_of_ours_is_not_followed(kind: str, mode: Any, tmp_path: Path):
    (tmp_path / "precious").write_bytes(b"x")
    if kind == "link":
        (tmp_path / "log").symlink_to("precious")
    else:
        os.mkfifo(tmp_path / "log")
    with suppress(OSError), open_own(tmp_path / "log", mode) as file:
        assert mode == "rb"
        assert not file.read()
    assert (tmp_path / "precious").read_bytes() == b"x"


def test_links_are_followed_but_for_those_in_a_circle(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "circle").symlink_to("circle")
    here = tmp_path.resolve()
    assert real_path(tmp_path / "link" / "a.txt") == here / "folder" / "a.txt"
    assert real_path(str(tmp_path / "link" / ".." / "circle")) == here / "circle"


def test_names_of_elsewhere_can_be_stored_in_a_locale_without_letters(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "utf-8")
    assert storable_name("Über 漢字.png") == "Über 漢字.png"
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    assert storable_name("Über 漢.png") == "\\xdcber \\u6f22.png"


def test_files_are_listed_without_hidden_ones_and_links_to_folders_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    for name in ("b.txt", "a/c.txt", ".hidden", ".cache/d.txt"):
        (tmp_path / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / name).touch()
    (tmp_path / "top/link").symlink_to(tmp_path / "top/a")
    (tmp_path / "top/gone").symlink_to("nowhere")
    assert list_files(tmp_path / "top") == [tmp_path / "top" / name for name in ("a/c.txt", "b.txt", "gone")]
    assert caplog.messages == [f"{tmp_path}/top/link: is a link to a folder, and not followed"]
