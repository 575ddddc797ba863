"""What users do wrong, and what happens to them: the command as it is installed, with the built-in model."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import png
from PIL import Image

from quillread.batch.records import LOG_NAME
from quillread.cli.main import main
from quillread.models.catalog import resolve
from quillread.models.model_folder import INFO_NAME, ONNX_NAME

DATA = Path(__file__).parents[1] / "data"
LINE = DATA / "line.jpg"
QUILL = [sys.executable, "-m", "quillread.cli.main"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def png_head(width: int, height: int) -> bytes:
    """The start of a PNG file; there are no pixels that anybody could decode."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"\x78\x9c")


def blank(width: int = 300, height: int = 400) -> Image.Image:
    return Image.new("RGB", (width, height), "white")


def read(*arguments: str | Path) -> int:
    return main(["read", "--threads", "1", *map(str, arguments)])


def read_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, list[dict[str, Any]]]:
    code = read("--format", "json", *arguments)
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def write_faulty(name: str) -> None:
    contents = {
        "zero.jpg": b"",
        "text.jpg": b"Dear Sir, this is no image at all.\n",
        "cut.jpg": LINE.read_bytes()[:3000],
        "head.jpg": LINE.read_bytes()[:20],
        "broken.pdf": b"%PDF-1.4\n1 0 obj << /Type /Catalog",
        "encrypted.pdf": (DATA / "encrypted.pdf").read_bytes(),
    }
    Path(name).write_bytes(contents[name])


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("zero.jpg", "is empty (0 bytes)"),
        ("text.jpg", "is not an image or PDF that can be read"),
        ("cut.jpg", "cannot be decoded: "),
        ("head.jpg", ""),
        ("broken.pdf", "is a broken PDF"),
        ("encrypted.pdf", "is encrypted"),
    ],
)
def test_a_faulty_file_gives_3_its_name_what_is_wrong_and_what_to_do(
    name: str, what: str, capsys: pytest.CaptureFixture[str]
):
    write_faulty(name)
    assert read(name) == 3
    out, err = capsys.readouterr()
    assert out == ""
    message, hint, count, rest = err.split("\n")
    assert message.startswith(f"quill: {name}: {what}")
    assert hint.startswith("  hint: ")
    assert (count, rest) == ("quill: 1 of 1 inputs could not be read in full", "")


def test_each_input_has_a_document_in_order_and_the_bad_ones_have_an_error(capsys: pytest.CaptureFixture[str]):
    for name in ("zero.jpg", "text.jpg", "encrypted.pdf"):
        write_faulty(name)
    names = ["zero.jpg", str(LINE), "text.jpg", str(LINE), "encrypted.pdf", "missing.jpg"]
    code, found = read_json(capsys, "--lines", *names)
    assert code == 3
    assert [document["source"] for document in found] == names
    assert ["error" in document for document in found] == [True, False, True, False, True, True]


def test_bad_inputs_have_no_text_file(folder: Path):
    for name in ("zero.jpg", "cut.jpg", "broken.pdf"):
        write_faulty(name)
    assert read("--lines", "zero.jpg", "cut.jpg", LINE, "broken.pdf", "--output", "out") == 3
    assert [path.name for path in (folder / "out").iterdir() if path.name != LOG_NAME] == ["line.txt"]


@pytest.mark.parametrize("size", [(1, 1), (2000, 1), (1, 2000), (300, 400)])
def test_an_image_without_writing_is_an_empty_page_and_no_fault(
    size: tuple[int, int], capsys: pytest.CaptureFixture[str]
):
    blank(*size).save("blank.png")
    code, (document,) = read_json(capsys, "blank.png")
    assert code == 0
    assert document["text"] == ""
    page = {"number": 1, "width": size[0], "height": size[1], "notes": ["no writing found"], "lines": [], "regions": []}
    assert document["pages"] == [page]


@pytest.mark.parametrize("shade", ["black", "#808080"])
def test_a_page_of_one_shade_is_an_empty_page(shade: str, capsys: pytest.CaptureFixture[str]):
    Image.new("RGB", (300, 400), shade).save("page.png")
    code, (document,) = read_json(capsys, "page.png")
    assert (code, document["pages"][0]["lines"]) == (0, [])


def test_a_page_of_noise_is_read_without_a_fault(capsys: pytest.CaptureFixture[str]):
    noise = np.random.default_rng(1).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    Path("noise.png").write_bytes(png(noise))
    code, (document,) = read_json(capsys, "noise.png")
    assert (code, document["pages"][0]["width"]) == (0, 400)


def test_a_huge_image_is_refused_before_it_is_decoded(capsys: pytest.CaptureFixture[str]):
    Path("huge.png").write_bytes(png_head(30_000, 30_000))
    assert read("huge.png") == 3
    err = capsys.readouterr().err
    assert err.startswith("quill: huge.png: 30000 x 30000 pixels are more than the limit of 200,000,000 pixels")
    assert "read.max_pixels" in err


def test_a_bad_page_of_a_tiff_is_named_and_the_others_are_read(capsys: pytest.CaptureFixture[str]):
    pages = [Image.open(LINE).convert("L") for _ in range(3)]
    pages[0].save("scan.tif", save_all=True, append_images=pages[1:], compression="tiff_adobe_deflate")
    with Image.open("scan.tif") as image:
        image.seek(1)
        start, length = image.tag_v2[273][0], image.tag_v2[279][0]
    content = bytearray(Path("scan.tif").read_bytes())
    content[start : start + length] = b"\xff" * length
    Path("scan.tif").write_bytes(content)
    code = read("--lines", "--format", "json", "scan.tif")
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert code == 3
    assert [page["number"] for page in found["pages"]] == [1, 2, 3]
    assert ["error" in page for page in found["pages"]] == [False, True, False]
    assert err.startswith("quill: scan.tif, page 2: cannot be decoded")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (
            '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]><PcGts>&e;</PcGts>',
            "a document type (a) is not allowed",
        ),
        ('<!DOCTYPE a [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><PcGts>&b;</PcGts>', "(a) is not allowed"),
        ("<PcGts", "malformed XML"),
        ('<PcGts><Page imageWidth="9" imageHeight="9"/></PcGts>', "is about one of 9 x 9"),
        ("<mets/>", "is neither PAGE nor ALTO"),
    ],
    ids=["entity", "laughs", "cut off", "other size", "other XML"],
)
def test_a_segmentation_that_cannot_be_used_is_named(content: str, what: str, capsys: pytest.CaptureFixture[str]):
    Path("lines.xml").write_text(content, encoding="utf-8")
    assert read(LINE, "--segmentation", "lines.xml") == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "lines.xml" in err
    assert what in err
    assert "  hint: " in err


def test_a_segmentation_whose_image_is_missing_is_named(capsys: pytest.CaptureFixture[str]):
    Path("lines.xml").write_text('<PcGts><Page imageWidth="9" imageHeight="9"/></PcGts>', encoding="utf-8")
    assert read("--segmentation", "lines.xml") == 3
    assert "lines.xml: has no image of its name beside it" in capsys.readouterr().err


def test_an_unknown_model_gives_2(capsys: pytest.CaptureFixture[str]):
    assert read("--model", "bultin", LINE) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "quill: error: unknown model 'bultin' (did you mean 'builtin'?)\n  hint: see: quill models list\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (ONNX_NAME, None, "lacks its weights"),
        (ONNX_NAME, b"", "cannot be loaded as an ONNX model"),
        (INFO_NAME, None, "is not a model folder"),
        (INFO_NAME, b"{", "cannot be read"),
        (INFO_NAME, b'{"family": "compact", "name": "x", "charset": "abc"}', "do not belong together"),
        (INFO_NAME, b'{"family": "compact", "name": "x", "charest": "abc"}', "did you mean 'charset'?"),
        (INFO_NAME, b'{"format": 99}', "has format 99"),
    ],
)
def test_a_damaged_model_gives_2(name: str, content: bytes | None, message: str, capsys: pytest.CaptureFixture[str]):
    folder = Path("model")
    folder.mkdir()
    for part in (INFO_NAME, ONNX_NAME):
        (folder / part).write_bytes((resolve("builtin") / part).read_bytes())
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert read("--model", folder, LINE) == 2
    err = capsys.readouterr().err
    assert err.startswith("quill: error: model")
    assert message in err


def test_a_full_disk_behind_stdout_gives_3():
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        result = subprocess.run([*QUILL, "read", "--lines", LINE], stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT)
    assert result.returncode == 3
    assert result.stderr.decode() == (
        "quill: error: stdout: No space left on device\n  hint: check disk space and permissions\n"
    )


def test_a_model_folder_that_is_not_there_is_sought_on_the_hub_in_a_fresh_process():
    command = [*QUILL, "read", "--model", "my/model", LINE]
    result = subprocess.run(command, capture_output=True, env=ENVIRONMENT | {"HF_HUB_OFFLINE": "1"})
    assert result.returncode == 2
    assert result.stderr.decode() == (
        "quill: error: my/model: the Hugging Face hub cannot be reached, and its cache does not hold the whole model\n"
        "  hint: connect once to download it; if you mean a folder, there is none of this name\n"
    )


def test_a_reader_that_leaves_ends_the_command_in_silence():
    command = [*QUILL, "read", "--lines", "--threads", "1", *[str(LINE)] * 50]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    ("sent", "code", "message"),
    [(signal.SIGINT, 130, b"quill: interrupted\n"), (signal.SIGTERM, 143, b"quill: ended by SIGTERM\n")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_leaves_what_was_written_and_nothing_in_part(
    sent: signal.Signals, code: int, message: bytes, jobs: int, folder: Path
):
    options = ["--lines", "--threads", "1", "--jobs", str(jobs), "--format", "txt,pdf", "--output", "out"]
    (folder / "in").mkdir()
    for number in range(2000):
        (folder / "in" / f"{number}{LINE.suffix}").symlink_to(LINE)
    command = [*QUILL, "read", "in", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        while not list(folder.glob("out/*.pdf")) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(sent)
        out, err = process.communicate()  # which ends when the processes of --jobs have ended too
    assert (process.returncode, out, err) == (code, b"", message)
    texts, pdfs = (list((folder / "out").glob(f"*.{suffix}")) for suffix in ("txt", "pdf"))
    assert 0 < len(pdfs) <= len(texts) < 2000
    assert len({path.read_bytes() for path in texts}) == 1
    assert {path.name for path in (folder / "out").iterdir()} == {LOG_NAME, *(path.name for path in (*texts, *pdfs))}


def test_reading_loads_no_heavy_package():
    code = (
        "import sys\nfrom quillread.cli.main import main\n"
        f"code = main(['read', '--threads', '1', {str(DATA / 'page.jpg')!r}])\n"
        "heavy = ('torch', 'transformers', 'pyarrow', 'datasets', 'matplotlib', 'accelerate')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)\nsys.exit(code)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=ENVIRONMENT)
    assert (result.returncode, result.stderr) == (0, "[]\n")
