"""One recogniser in a process of its own: image paths come in, texts and seconds go out, as JSON lines.

    python benchmarks/peer_worker.py rapidocr --threads 2

`peers.py` starts it, says {"paths": [...]} and is told {"texts": [...], "seconds": ...}. The first line out names what
was loaded. Nothing of quillread is imported unless that is what is measured: peers live in virtual environments of
their own. The time covers opening, decoding and reading the images, for every system alike.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

Read = Callable[[Sequence[str]], list[str]]
"""Gives one text for each image path, in order."""

RAPIDOCR_MARGIN = 0.2
"""White put on either side of a line, as a share of its height: PP-OCR drops letters at the ends of tight lines. On 240
validation lines of IAM its CER was 7.9 % without and 7.4 % with it; wider margins did not help further. White above and
below makes the writing smaller and the reading worse."""


def main() -> None:
    """Load a system, then answer until the questions end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=sorted(OPENERS))
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    parser.add_argument("--model", default="builtin", help="of quillread (default: %(default)s)")
    parser.add_argument("--tesseract", default="tesseract", metavar="PATH", help="its program")
    parser.add_argument("--language", default="eng", help="of Tesseract (default: %(default)s)")
    arguments = parser.parse_args()
    replies, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not run into the answers
    read, title = OPENERS[arguments.system](arguments)
    print(json.dumps({"title": title}), file=replies, flush=True)
    for question in sys.stdin:
        paths = json.loads(question)["paths"]
        start = time.perf_counter()
        texts = read(paths)
        seconds = time.perf_counter() - start
        print(json.dumps({"texts": texts, "seconds": seconds}), file=replies, flush=True)


def open_quillread(arguments: argparse.Namespace) -> tuple[Read, str]:
    """Read a block of lines at once, as `quill evaluate` does; `LineRecognizer` makes the batches."""
    from quillread.images.read import open_document
    from quillread.recognize.load import load
    from quillread.types import UInt8Image

    recognizer = load(arguments.model, threads=arguments.threads)

    def decode(path: str) -> UInt8Image:
        with open_document(Path(path)) as document:
            return document.page(0)

    def read(paths: Sequence[str]) -> list[str]:
        return [transcript.text for transcript in recognizer.read([decode(path) for path in paths])]

    return read, f"quillread {version('quillread')}, model {recognizer.info.name}"


def open_rapidocr(arguments: argparse.Namespace) -> tuple[Read, str]:
    """Recognise with the default model (in 3.10: PP-OCRv6 small, multilingual, part of the wheel), one engine a thread.

    Recognition alone is better and far faster than the whole pipeline, whose text detection splits lines of handwriting
    or loses parts of them. Its batches of six cost a fifth more processor time, as all are padded to the widest.
    One engine with all threads is slower than one a thread.
    """
    cv2: Any = importlib.import_module("cv2")
    rapidocr: Any = importlib.import_module("rapidocr")
    params = {"Global.log_level": "error", "EngineConfig.onnxruntime.intra_op_num_threads": 1}
    engines = [rapidocr.RapidOCR(params=params) for _ in range(arguments.threads)]

    def read_share(engine: Any, paths: Sequence[str]) -> list[str]:
        texts = []
        for path in paths:
            image = engine.load_img(path)
            margin = round(RAPIDOCR_MARGIN * image.shape[0])
            padded = cv2.copyMakeBorder(image, 0, 0, margin, margin, cv2.BORDER_CONSTANT, value=(255, 255, 255))
            texts.append(str(engine.recognize_txt([padded]).txts[0]))
        return texts

    cfg = engines[0].cfg.Rec
    title = f"rapidocr {version('rapidocr')}, {cfg.ocr_version.value} {cfg.model_type.value}"
    return sharing([partial(read_share, engine) for engine in engines]), title


def sharing(readers: Sequence[Read]) -> Read:
    """Read with several readers at a time: one a thread."""
    pool = ThreadPoolExecutor(len(readers))

    def read(paths: Sequence[str]) -> list[str]:
        texts: list[str] = [""] * len(paths)
        shares = [paths[first :: len(readers)] for first in range(len(readers))]
        for first, share in enumerate(pool.map(lambda read, share: read(share), readers, shares)):
            texts[first :: len(readers)] = share
        return texts

    return read


def open_tesseract(arguments: argparse.Namespace) -> tuple[Read, str]:
    """Read with one single-threaded program for each thread: its own threads make it slower.

    The program loads its model at each start, so that a little loading is in its times: once for a block of lines.
    """
    options = ["--psm", "13", "-l", arguments.language]  # 13: one raw line, better than 7 on handwriting
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}

    def read_share(paths: Sequence[str]) -> list[str]:
        if not paths:
            return []
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as listing:
            listing.write("\n".join(paths) + "\n")
            listing.flush()
            command = [arguments.tesseract, listing.name, "stdout", *options]
            done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=True)
        return [" ".join(text.split()) for text in done.stdout.split("\f")]  # form feeds part the images

    told = subprocess.run([arguments.tesseract, "--version"], capture_output=True, encoding="utf-8", check=True)
    return sharing([read_share] * arguments.threads), f"{told.stdout.splitlines()[0]}, {arguments.language}"


OPENERS: dict[str, Callable[[argparse.Namespace], tuple[Read, str]]] = {
    "quillread": open_quillread,
    "rapidocr": open_rapidocr,
    "tesseract": open_tesseract,
}


if __name__ == "__main__":
    main()
