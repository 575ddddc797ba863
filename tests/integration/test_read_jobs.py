"""`quill read --jobs N` against a serial run, and what users and machines do to it while it runs."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import page_workers
import pytest
from fakes import bar_line, png
from page_workers import PATIENCE, wait
from PIL import Image
from webserver import Answer, forget_proxies, serve

from quillread.batch.journal import JOURNAL_SUFFIX
from quillread.batch.records import LOG_NAME
from quillread.cli.main import main
from quillread.formats.export import FORMATS

DATA = Path(__file__).parents[1] / "data"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
ALL_FORMATS = ",".join(FORMATS)
STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
"""Of PAGE and ALTO."""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers need POSIX")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: lines of bars, a book of five, and a file that is none."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("one", "a bad cab"), ("two", "dead"), ("blank", "")):
        (tmp_path / f"{name}.png").write_bytes(png(bar_line(text)))
    write_book(tmp_path / "book.tif")
    (tmp_path / "bad.png").write_text("no image", encoding="utf-8")
    return tmp_path


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `quill` in this process read bars, and its workers too."""
    monkeypatch.setattr("quillread.cli.read._executor", page_workers.executor)


def write_book(path: Path, pages: int = 5) -> None:
    first, *others = (Image.fromarray(bar_line("abcde"[: i + 1] + " cab")) for i in range(pages))
    first.save(path, save_all=True, append_images=others)


def read(jobs: int, *arguments: str | Path) -> int:
    return main(["read", "--lines", "--jobs", str(jobs), *map(str, arguments)])


def quill(*arguments: str | Path, before: str = "pass") -> list[str]:
    """The command of `quill` with workers for bars."""
    code = f"{before}; import page_workers; page_workers.main()"
    return [sys.executable, "-c", code, "read", "--lines", *map(str, arguments)]


def start(*arguments: str | Path, before: str = "pass", **options: Any) -> subprocess.Popen[str]:
    """Start it; its output ends when the last process that holds it has ended."""
    command = quill(*arguments, before=before)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, encoding="utf-8", env=ENVIRONMENT, start_new_session=True, **streams)


@pytest.fixture
def started() -> Iterator[Any]:
    """`start`, and the end of all that is still running after the test."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        processes.append(start(*arguments, **options))
        return processes[-1]

    yield begin
    for process in processes:
        with process:
            process.kill()


def waiting_at(path: Path, process: subprocess.Popen[str]) -> int:
    """Wait until a process has come to the page at which it waits; returns its id."""
    place = path.with_suffix(".pid")
    wait(lambda: place.exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return int(place.read_text(encoding="ascii"))


def let_go(path: Path) -> None:
    path.with_suffix(".pid").unlink()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end of a run and of all of its workers."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def written(folder: Path) -> dict[str, bytes]:
    """All files by their name, without times."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != LOG_NAME)
    return {path.relative_to(folder).as_posix(): STAMP.sub(b"", path.read_bytes()) for path in files}


INPUTS = ("one.png", "book.tif", "bad.png", "none.png", "blank.png", "*.gif", "two.png")


@pytest.mark.usefixtures("bars")
def test_files_are_those_of_a_serial_run(folder: Path, capsys: pytest.CaptureFixture[str]):
    told = []
    for jobs in (1, 3):
        options = ("--format", ALL_FORMATS, "--output", f"out{jobs}", "--overlay", f"seen{jobs}")
        code = read(jobs, *INPUTS, *options)
        told.append((code, capsys.readouterr().err.replace(f"out{jobs} and seen{jobs}", "")))
    assert told[0] == told[1]
    assert told[0][0] == 3
    assert written(folder / "out1") == written(folder / "out3")
    assert written(folder / "seen1") == written(folder / "seen3")
    assert len(written(folder / "seen1")) == 8


@pytest.mark.usefixtures("bars")
@pytest.mark.parametrize(
    "options",
    [
        ["--format", "json"],
        pytest.param(["--format", "md", "--pages", "2-3,5-"], marks=pytest.mark.slow),
        pytest.param(["--show", "--pages", "9-"], marks=pytest.mark.slow),
        pytest.param(["--review", "0"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_stdout_and_stderr_are_those_of_a_serial_run(options: list[str], capsys: pytest.CaptureFixture[str]):
    told = [(read(jobs, *INPUTS, *options), *capsys.readouterr()) for jobs in (1, 2)]
    assert told[0] == told[1]
    assert "bad.png: is not an image" in told[0][2]


@pytest.mark.slow
@pytest.mark.usefixtures("bars")
def test_more_processes_than_pages_are_no_obstacle(capsys: pytest.CaptureFixture[str]):
    assert read(8, "one.png", "two.png") == 0
    assert capsys.readouterr().out == "== one.png\na bad cab\n\n== two.png\ndead\n"


@pytest.mark.slow
@pytest.mark.usefixtures("bars")
def test_many_small_images_come_in_order(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "in").mkdir()
    texts = ["".join("abcde"[(i // 5**k) % 5] for k in range(4)) for i in range(300)]
    for i, text in enumerate(texts):
        (folder / "in" / f"{i}.png").write_bytes(png(bar_line(text)))
    assert read(2, "in") == 0
    assert capsys.readouterr().out.splitlines()[1::3] == texts


@pytest.mark.slow
@pytest.mark.usefixtures("bars")
def test_a_book_from_stdin_is_read_in_processes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    content = (folder / "book.tif").read_bytes()
    told = []
    for jobs in (1, 2):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
        told.append((read(jobs, "one.png", "-", "-", "--format", "json"), *capsys.readouterr()))
    assert told[0] == told[1]
    _, second, third = map(json.loads, told[0][1].splitlines())
    assert [page["number"] for page in second["pages"]] == [1, 2, 3, 4, 5]
    assert third["error"].startswith("-: stdin is empty")


@pytest.mark.slow
@pytest.mark.usefixtures("bars")
def test_a_book_of_a_library_is_read_in_processes(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
):
    forget_proxies(monkeypatch)
    with serve() as site:
        bodies = [site.add(f"/{name}.png", Answer((folder / f"{name}.png").read_bytes())) for name in ("one", "two")]
        items = [
            {"type": "Canvas", "items": [{"items": [{"motivation": "painting", "body": body} for body in group]}]}
            for group in (
                [{"id": bodies[0], "type": "Image"}, {"id": bodies[1], "type": "Image"}],
                [{"id": bodies[1], "type": "Image"}],
                [{"id": f"{site.address}/none.png", "type": "Image"}],
            )
        ]
        manifest = {"@context": "http://iiif.io/api/presentation/3/context.json", "type": "Manifest", "items": items}
        address = site.add("/book/manifest.json", Answer(json.dumps(manifest).encode()))
        told = [(read(jobs, address, "one.png"), *capsys.readouterr()) for jobs in (1, 2)]
    assert told[0] == told[1]
    assert told[0][0] == 3
    book = "a bad cab\n\ndead\n\n[page 3 could not be read]\n"
    assert told[0][1] == f"== {address}\n{book}\n== one.png\na bad cab\n"
    assert caplog.messages == [f"{address}, page 1: is made up of 2 images, and only the first is read"] * 2


@pytest.mark.usefixtures("bars")
@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_name_that_is_not_text_is_read_in_processes(folder: Path, capsys: pytest.CaptureFixture[str]):
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    (folder / "one.png").rename(folder / name)
    assert read(2, name, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["source"] == name


@pytest.mark.usefixtures("bars")
@pytest.mark.parametrize("page", [1, *(pytest.param(page, marks=pytest.mark.slow) for page in (3, 5))])
def test_a_page_that_crashes_its_process_is_lost_alone(page: int, folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "book.tif").rename(folder / f"crash-{page}.tif")
    assert read(2, "one.png", f"crash-{page}.tif", "two.png", "--format", "json") == 3
    out, err = capsys.readouterr()
    one, book, two = map(json.loads, out.splitlines())
    message = f"crash-{page}.tif, page {page}: the worker process crashed: Aborted"
    assert err.startswith(f"quill: {message}\n  hint: ")
    assert err.endswith("quill: 1 of 3 inputs could not be read in full\n")
    assert (one["text"], two["text"]) == ("a bad cab", "dead")
    assert [page["number"] for page in book["pages"]] == [1, 2, 3, 4, 5]
    faults = [page.get("fault") for page in book["pages"]]
    assert [fault is not None for fault in faults] == [i == page - 1 for i in range(5)]
    assert (faults[page - 1]["kind"], faults[page - 1]["message"]) == ("crash", message)


@pytest.mark.slow
@pytest.mark.usefixtures("bars")
def test_an_image_that_crashes_its_process_is_named(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "one.png").rename(folder / "crash-1.png")
    assert read(2, "crash-1.png", "two.png") == 3
    out, err = capsys.readouterr()
    assert out == "== two.png\ndead\n"
    assert err.startswith("quill: crash-1.png: the worker process crashed: Aborted\n  hint: ")


@pytest.mark.slow
@pytest.mark.usefixtures("bars")
def test_a_resumed_run_reads_a_lost_page_again_and_no_other(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "book.tif").rename(folder / "crash-2.tif")
    assert read(2, "crash-2.tif", "--output", "out", "--format", "json", "--overlay", "seen") == 3
    (journal,) = (folder / "out").glob(f".*{JOURNAL_SUFFIX}")
    assert len(re.findall(rb'^\{"number"', journal.read_bytes(), re.MULTILINE)) == 4
    assert "page 2: the worker process crashed" in capsys.readouterr().err
    assert read(2, "crash-2.tif", "--output", "out", "--format", "json", "--overlay", "seen", "--resume") == 3
    assert capsys.readouterr().err.count("crashed") == 1


def test_a_worker_that_is_killed_loses_its_page_only(folder: Path, started: Any):
    write_book(folder / "wait-3.tif")
    run = started("one.png", "wait-3.tif", "two.png", "--jobs", "2", "--format", "json")
    os.kill(waiting_at(folder / "wait-3.tif", run), signal.SIGKILL)
    code, out, err = ended(run)
    one, book, two = map(json.loads, out.splitlines())
    assert code == 3
    assert (one["text"], two["text"]) == ("a bad cab", "dead")
    faults = {page["number"]: page["fault"] for page in book["pages"] if "fault" in page}
    assert list(faults) == [3]
    assert faults[3]["kind"] == "crash"
    assert faults[3]["message"] == "wait-3.tif, page 3: the worker process was killed"
    assert err.startswith("quill: wait-3.tif, page 3: the worker process was killed\n  hint: ")


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    ("number", "code", "told"),
    [(signal.SIGINT, 130, "quill: interrupted\n"), (signal.SIGTERM, 143, "quill: ended by SIGTERM\n")],
)
def test_a_run_that_is_interrupted_leaves_whole_files_and_no_process(
    number: signal.Signals, code: int, told: str, jobs: int, folder: Path, started: Any
):
    write_book(folder / "wait-3.tif")
    run = started("one.png", "wait-3.tif", "--jobs", jobs, "--format", ALL_FORMATS, "--output", "out")
    waiting_at(folder / "wait-3.tif", run)
    os.killpg(run.pid, number)
    assert ended(run) == (code, "", told)
    left = {name for name in written(folder / "out") if not name.startswith("one")}
    assert left - {f".wait-3{JOURNAL_SUFFIX}"} <= {
        f"wait-3-000{n}.{kind}.xml" for n in (1, 2) for kind in ("page", "alto")
    }


@pytest.mark.slow
def test_impatience_leaves_nothing_either(folder: Path, started: Any):
    write_book(folder / "wait-3.tif")
    run = started("wait-3.tif", "--jobs", "2", "--format", "txt,json,docx,pdf", "--output", "out")
    waiting_at(folder / "wait-3.tif", run)
    for _ in range(50):
        if run.poll() is None:
            run.send_signal(signal.SIGINT)
    assert ended(run)[0] in (130, -signal.SIGINT)
    assert set(written(folder / "out")) <= {f".wait-3{JOURNAL_SUFFIX}"}


@pytest.mark.slow
def test_a_run_whose_parent_was_killed_is_resumed_and_gives_what_a_serial_run_gives(folder: Path, started: Any):
    write_book(folder / "wait-4.tif")
    inputs = ("one.png", "wait-4.tif", "two.png", "--format", ALL_FORMATS, "--overlay")
    run = started(*inputs, "seen", "--output", "out", "--jobs", "2")
    waiting_at(folder / "wait-4.tif", run)
    journal = folder / "out" / f".wait-4{JOURNAL_SUFFIX}"
    wait(lambda: b'{"number": 3,' in journal.read_bytes())
    run.kill()
    assert ended(run) == (-signal.SIGKILL, "", "")
    let_go(folder / "wait-4.tif")
    again = ended(started(*inputs, "seen", "--output", "out", "--jobs", "2", "--resume"))
    assert again[:2] == (0, "")
    assert again[2].startswith("quill: skipped 1 of 3 inputs that an earlier run has read\nquill: 6 pages with ")
    assert ended(started(*inputs, "serially seen", "--output", "serial"))[0] == 0
    for one, other in (("out", "serial"), ("seen", "serially seen")):
        assert written(folder / one) == written(folder / other)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_leaves_nothing_half_written(jobs: int, folder: Path, started: Any):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))"
    run = started("book.tif", "--jobs", jobs, "--format", "txt,json", "--output", "out", before=limit)
    code, out, err = ended(run)
    assert (code, out) == (3, "")
    assert re.match(r"quill: book.tif: out/\S+: cannot be written: File too large\n  hint: ", err)
    assert set(written(folder / "out")) <= {"book.txt", f".book{JOURNAL_SUFFIX}"}


@pytest.mark.slow
def test_a_full_disk_behind_stdout_is_said_once(folder: Path, started: Any):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))"
    with (folder / "out.json").open("wb") as file:
        run = started("book.tif", "book.tif", "--jobs", 2, "--format", "json", before=limit, stdout=file)
        code, _, err = ended(run)
    assert code == 3
    assert err == "quill: error: stdout: File too large\n  hint: check disk space and permissions\n"


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_output_folder_that_goes_while_it_is_written_is_an_error(jobs: int, folder: Path, started: Any):
    write_book(folder / "wait-3.tif")
    run = started("wait-3.tif", "--jobs", jobs, "--output", "out")
    waiting_at(folder / "wait-3.tif", run)
    (folder / "out").rename(folder / "away")
    let_go(folder / "wait-3.tif")
    code, _, err = ended(run)
    assert code == 3
    assert re.search(r"quill: error: out/\S+: cannot be written: No such file or directory\n", err)
    assert not (folder / "out").exists()


@pytest.mark.slow
def test_two_runs_into_one_folder_do_not_spoil_each_other(folder: Path, started: Any):
    write_book(folder / "wait-3.tif")
    arguments = ("one.png", "wait-3.tif", "two.png", "--jobs", "2", "--format", "txt,json", "--output", "out")
    first = started(*arguments)
    waiting_at(folder / "wait-3.tif", first)
    assert ended(started(*arguments))[0] == 0
    between = written(folder / "out")
    let_go(folder / "wait-3.tif")
    assert ended(first)[0] == 0
    after = written(folder / "out")
    assert {name for name in between if name.endswith((".txt", ".json"))} == set(after)
    assert all(between[name] == content for name, content in after.items())
    assert ended(started(*arguments, "--resume"))[2].startswith("quill: all 3 inputs were read by an earlier run")


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_streams_that_are_closed_lead_nowhere(closed: str, folder: Path):
    command = quill("bad.png", "one.png", "book.tif", "--jobs", "2", "--format", "json")
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *command]
    done = subprocess.run(shell, capture_output=True, encoding="utf-8", env=ENVIRONMENT, timeout=PATIENCE)
    assert done.returncode == 3
    assert [json.loads(line)["source"] for line in done.stdout.splitlines()] == ["bad.png", "one.png", "book.tif"]
    assert (done.stderr == "") == ("2" in closed)


@pytest.mark.slow
def test_a_reader_that_leaves_ends_the_run_and_all_its_workers(folder: Path, started: Any):
    write_book(folder / "wait-3.tif")
    run = started("one.png", "wait-3.tif", "--jobs", "2")
    assert run.stdout.readline() == "== one.png\n"
    waiting_at(folder / "wait-3.tif", run)
    run.stdout.close()
    let_go(folder / "wait-3.tif")
    assert run.stderr.read() == ""
    assert run.wait(PATIENCE) == 0


@pytest.mark.parametrize("model", ["bultin", "damaged"])
def test_a_model_that_cannot_be_loaded_gives_2_as_in_a_serial_run(
    model: str, folder: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "damaged").mkdir()
    (folder / "damaged" / "quillread.json").write_text("{", encoding="utf-8")
    told = [(read(jobs, "one.png", "--model", model), *capsys.readouterr()) for jobs in (1, 2)]
    assert told[0] == told[1]
    assert told[0][0] == 2


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts of a real page: images, a PDF of five pages, a TIFF of two, a file that is none."""
    folder = tmp_path_factory.mktemp("real")
    with Image.open(DATA / "page.jpg") as page:
        parts = [page.crop((0, 70 * i, 400 + 50 * i, 70 * i + 150)).convert("RGB") for i in range(8)]
    parts[5].save(folder / "a.jpg", dpi=(300, 300))
    parts[6].save(folder / "b.png")
    parts[2].save(folder / "scan.tif", save_all=True, append_images=parts[3:4], dpi=(200, 200))
    parts[0].save(folder / "book.pdf", save_all=True, append_images=parts[1:5], resolution=200)
    parts[7].save(folder / "c.png")
    (folder / "bad.jpg").write_text("no image", encoding="utf-8")
    return folder


@pytest.mark.slow
def test_real_pages_are_read_as_in_a_serial_run(
    real: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.chdir(real)
    names = ("a.jpg", "book.pdf", "bad.jpg", "b.png", "none.jpg", "scan.tif", "c.png")
    told = []
    for jobs in ("1", "2"):
        out = tmp_path / jobs
        files = ("--output", str(out / "out"), "--overlay", str(out / "seen"))
        code = main(["read", "--jobs", jobs, *names, "--format", ALL_FORMATS, *files])
        told.append((code, capsys.readouterr().err.replace(str(out), ""), caplog.messages))
        caplog.clear()
    assert told[0] == told[1]
    assert told[0][0] == 3
    assert written(tmp_path / "1") == written(tmp_path / "2")
    found = json.loads((tmp_path / "2" / "out" / "book.json").read_text(encoding="utf-8"))
    assert len(found["pages"]) == 5
    assert all(page["lines"] for page in found["pages"])
    assert len(list((tmp_path / "2" / "seen").glob("*.png"))) == 3 + 5 + 2
