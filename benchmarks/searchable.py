"""What becomes of the text of a searchable PDF in programs that take it?

    python benchmarks/searchable.py --pages DIR [--tilt DEGREES]

The pages below DIR are read and written as PDF, tilted first if that is asked for; their text is taken by Poppler's
pdftotext (as it is, with -layout and with -raw), by PDFium and by pypdf. A word is lost if it does not come back whole,
as often as it was read; a line is whole if its words stand beside each other in a line of what was taken. Covered is
how much of the words of a line its selection covers, in PDFium.
"""

import argparse
import io
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pypdfium2
from pypdf import PdfReader

from quillread import Reader
from quillread.data.page_lines import read_pages
from quillread.types import Page, UInt8Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, required=True, metavar="DIR", help="pages with a PAGE or ALTO file each")
    parser.add_argument("--tilt", type=float, default=0.0, metavar="DEGREES", help="turn the pages first, clockwise")
    args = parser.parse_args()
    programs: dict[str, Callable[[Path], str]] = {
        "pdftotext": lambda path: pdftotext(path),
        "pdftotext -layout": lambda path: pdftotext(path, "-layout"),
        "pdftotext -raw": lambda path: pdftotext(path, "-raw"),
        "PDFium": pdfium,
        "pypdf": lambda path: "\n".join(page.extract_text() for page in PdfReader(path).pages),
    }
    lost: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    words = lines = 0
    shares: list[float] = []
    with Reader() as reader, tempfile.TemporaryDirectory() as folder:
        for path in read_pages(args.pages)[0]:
            with reader.open(path) as document:
                image = tilted(document.page(0), args.tilt)
            reading = reader.read(image)
            file = Path(folder, "page.pdf")
            reading.write("pdf", file, images=[image])
            read = Counter(reading.text.split())
            texts = [" ".join(text.split()) for text in reading.text.splitlines() if text.strip()]
            words, lines = words + read.total(), lines + len(texts)
            shares += covered(file, reading.pages[0])
            for name, take in programs.items():
                taken = take(file)
                rows = [" ".join(row.split()) for row in taken.splitlines()]
                lost[name] += (read - Counter(taken.split())).total()
                whole[name] += sum(any(text in row for row in rows) for text in texts)
    print(f"{words} words, {lines} lines; covered: {100 * np.mean(shares):.0f} %")
    for name in programs:
        share = 100 * lost[name] / max(words, 1)
        print(f"{name}: {lost[name]} words lost, {share:.2f} %; {whole[name]} lines whole")


def tilted(image: UInt8Image, degrees: float) -> UInt8Image:
    """Turn a page clockwise; what is uncovered has the colour of its paper."""
    if not degrees:
        return image
    height, width = image.shape[:2]
    paper = np.percentile(image.reshape(-1, 3), 80, axis=0).tolist()
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderValue=paper), np.uint8)


def covered(path: Path, page: Page) -> list[float]:
    """For each line that PDFium finds: the share of the area of its words that its selection covers."""
    shares = []
    with pypdfium2.PdfDocument(path) as pdf:
        text = pdf[0].get_textpage()
        scale = page.height / pdf[0].get_height()
        for line in page.lines:
            words = line.transcript.words if line.transcript else ()
            found = text.search(line.transcript.text).get_next() if line.transcript and words else None
            if found is None:
                continue
            wanted, shown = (np.zeros((page.height, page.width), np.uint8) for _ in range(2))
            for word in words:
                cv2.fillPoly(wanted, [np.array(word.polygon.points).round().astype(np.int32)], 1)
            for i in range(text.count_rects(*found)):
                left, bottom, right, top = (scale * value for value in text.get_rect(i))
                corners = (round(left), round(page.height - top)), (round(right), round(page.height - bottom))
                cv2.rectangle(shown, *corners, 1, cv2.FILLED)
            shares.append(float((wanted & shown).sum() / max(wanted.sum(), 1)))
    return shares


def pdftotext(path: Path, *options: str) -> str:
    return subprocess.run(["pdftotext", *options, path, "-"], capture_output=True, check=True, encoding="utf-8").stdout


def pdfium(path: Path) -> str:
    with pypdfium2.PdfDocument(io.BytesIO(path.read_bytes())) as pdf:
        return "\n".join(page.get_textpage().get_text_range() for page in pdf)


if __name__ == "__main__":
    main()
