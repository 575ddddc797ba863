"""How fast the page in the browser is: what is transferred, key press to paint, a collection of 10,000 pages.

A server of its own with pages that the built-in model has read, Chromium by Playwright, both on this machine.
"""

import argparse
import base64
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from record import describe_machine, save

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browsing import LETTER, EditorDriver, Served, seed

from quillread.reader import Reader

LARGE = (40, 700, 5_000)
MANY = 10_000
_KEYS = 60
_DROPS = 6
_DROP = """content => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(content), each => each.charCodeAt(0));
    transfer.items.add(new File([bytes], 'letter.jpg', {type: 'image/jpeg'}));
    for (const kind of ['dragenter', 'dragover', 'drop'])
        document.body.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
}"""
_WATCH_KEYS = """() => {
    window.paints = [];
    addEventListener('keydown', event => {
        const start = event.timeStamp;
        requestAnimationFrame(() => {
            const channel = new MessageChannel();
            channel.port1.onmessage = () => window.paints.push(performance.now() - start);
            channel.port2.postMessage(0);
        });
    }, {capture: true});
}"""
_WATCH_TASKS = """() => {
    window.tasks = [];
    new PerformanceObserver(list => window.tasks.push(...list.getEntries().map(entry => entry.duration)))
        .observe({type: 'longtask', buffered: true});
}"""


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "serve_page.json")
    arguments = parser.parse_args()
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        served = Served(Path(folder) / "data")
        seed(served.data, Reader().read_page(LETTER), 1, LARGE, MANY)
        served.start()
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox"])
        try:
            figures = {
                "transferred_bytes": {name: transferred(browser, served, path) for name, path in PATHS.items()},
                "key_to_paint_ms": {count: keys(browser, served, 2 + i) for i, count in enumerate(LARGE)},
                "open_ms": {count: opening(browser, served, 2 + i) for i, count in enumerate(LARGE)},
                "pages_10000": crowd(browser, served),
                "drop_to_text_seconds": dropped(browser, served),
            }
        finally:
            browser.close()
            served.stop()
    save(arguments.output, "serve_page", machine, figures)


PATHS = {"collections": "", "collection": "collection/1", "editor": "page/1"}


def transferred(browser: Browser, served: Served, path: str) -> dict[str, int]:
    """Bytes of answers as they came, of the first visit: our own files, and those of the archive."""
    page = browser.new_page()
    sizes = {"page": 0, "archive": 0}

    def count(request: Any) -> None:
        kind = "archive" if "/api/" in request.url else "page"
        measured = request.sizes()
        sizes[kind] += measured["responseBodySize"] + measured["responseHeadersSize"]

    page.on("requestfinished", count)
    page.goto(f"{served.address}/#/{path}")
    page.wait_for_timeout(4000)
    page.close()
    return sizes


def keys(browser: Browser, served: Served, number: int) -> dict[str, float]:
    """Milliseconds from key render_processes to their paint, letters and Enter."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    editor = EditorDriver(page, served, number).open()
    page.wait_for_timeout(3000)
    page.evaluate(_WATCH_KEYS)
    found = {}
    for name, key in (("letter", "x"), ("enter", "Enter")):
        page.evaluate("window.paints.length = 0")
        for _ in range(_KEYS):
            editor.press(key)
            page.wait_for_timeout(60)
        paints = sorted(page.evaluate("window.paints"))
        found[f"{name}_median"] = round(statistics.median(paints), 1)
        found[f"{name}_p95"] = round(paints[int(0.95 * len(paints))], 1)
    page.close()
    return found


def opening(browser: Browser, served: Served, number: int) -> int:
    """Milliseconds until the first line can be edited, files of the page being there already."""
    page = browser.new_page()
    EditorDriver(page, served, number).open()
    start = page.evaluate("Date.now()")
    page.reload()
    page.locator("textarea.field:focus").wait_for()
    spent: int = page.evaluate("Date.now()") - start
    page.close()
    return spent


def dropped(browser: Browser, served: Served) -> dict[str, Any]:
    """Seconds from the drop of a scan on an empty collection until its text stands in the editor, several in turn."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    content, spent, lines = base64.b64encode(LETTER.read_bytes()).decode(), [], 0
    for number in range(_DROPS):
        made = served.call("POST", "collections", json={"name": f"dropped {number}"})["id"]
        page.goto(f"{served.address}/#/collection/{made}")
        page.locator(".welcome").wait_for()
        start = time.monotonic()
        page.evaluate(_DROP, content)
        page.locator(".cell").wait_for()
        page.locator(".grid").focus()
        page.keyboard.press("Enter")
        page.locator("textarea.field").first.wait_for()
        spent.append(round(time.monotonic() - start, 2))
        lines = page.locator("li.line").count()
    page.close()
    return {"lines": lines, "first": spent[0], "median_of_the_rest": round(statistics.median(spent[1:]), 2)}


def crowd(browser: Browser, served: Served) -> dict[str, Any]:
    """Long tasks and elements while a collection of 10,000 pages is opened, scrolled and filtered."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{served.address}/#/collection/{served.crowd}")
    page.evaluate(_WATCH_TASKS)
    page.locator("[data-filter=all] .count", has_text="10,000").wait_for()
    loading = page.evaluate("window.tasks.splice(0)")
    for _ in range(40):
        page.mouse.wheel(0, 3000)
        page.wait_for_timeout(50)
    scrolling = page.evaluate("window.tasks.splice(0)")
    for _ in range(3):
        for name in ("waiting", "all"):
            page.locator(f"[data-filter={name}]").click()
            page.wait_for_timeout(200)
    filtering = page.evaluate("window.tasks.splice(0)")
    elements = page.evaluate("document.querySelectorAll('*').length")
    page.close()
    tasks = {"loading": loading, "scrolling": scrolling, "filtering": filtering}
    return {"longest_task_ms": {name: max(some, default=0) for name, some in tasks.items()}, "elements": elements}


if __name__ == "__main__":
    main()
