"""The files of the page in the browser, and how they are served."""

import ast
import gzip
import json
import re
from pathlib import Path
from typing import get_args

import pytest
from fastapi.testclient import TestClient
from fontTools.ttLib import TTFont

from quillread.errors import FaultKind
from quillread.serve.web import pages

STATIC = Path(pages.__file__).parent / "static"
LANGUAGES = ("de", "en", "es", "fr")
SCRIPTS = sorted((STATIC / "js").rglob("*.js"))


def texts(language: str) -> dict[str, str | dict[str, str]]:
    found: dict[str, str | dict[str, str]] = json.loads(
        (STATIC / "locales" / f"{language}.json").read_text(encoding="utf-8")
    )
    return found


def names_in(text: str | dict[str, str]) -> set[str]:
    whole = text if isinstance(text, str) else " ".join(text.values())
    return set(re.findall(r"\{(\w+)\}", whole))


def test_the_page_names_files_by_their_content_and_is_asked_for_anew(client: TestClient):
    answer = client.get("/")
    assert answer.headers["cache-control"] == "no-cache"
    assert "unsafe" not in answer.headers["content-security-policy"]
    addresses = re.findall(r'(?:href|src)="(static/[^"]+)"', answer.text)
    assert len(addresses) > 10
    for address in addresses:
        file = client.get("/" + address)
        assert (file.status_code, "immutable" in file.headers["cache-control"]) == (200, True)
    assert client.get("/", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_the_page_has_no_script_or_style_of_its_own():
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", html) == []


def test_files_come_compressed_to_whoever_takes_that(client: TestClient):
    address = f"/static/{pages.stamp()}/js/main.js"
    with client.stream("GET", address, headers={"Accept-Encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
    plain = client.get(address, headers={"Accept-Encoding": "identity"})
    assert gzip.decompress(packed) == plain.content
    assert plain.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    "name",
    [
        "../pages.py",
        "%2e%2e/pages.py",
        "js/../../pages.py",
        "js",
        "nothing.js",
        "js/main.py",
        "/etc/passwd",
        f"{300 * 'x'}.js",
        "%00.js",
    ],
)
def test_only_files_of_the_page_are_served(client: TestClient, name: str):
    assert client.get(f"/static/{pages.stamp()}/{name}").status_code == 404


def test_a_page_of_an_earlier_version_is_told_that_its_files_are_gone(client: TestClient):
    assert client.get("/static/0123456789abcdef/js/main.js").status_code == 404


def test_the_modules_of_the_first_screen_are_asked_for_at_once():
    named = pages.index().content.decode()
    assert "js/dom.js" in named
    assert "js/editor/editor.js" not in named


def test_what_is_transferred_at_first_is_small():
    def size(name: str) -> int:
        return len(gzip.compress((STATIC / name).read_bytes(), 9))

    first = sum(
        size(name)
        for name in re.findall(rb"static/[0-9a-f]+/([^\"]+)", pages.index().content)
        for name in [name.decode()]
    )
    editor = sum(size(str(path.relative_to(STATIC))) for path in (STATIC / "js" / "editor").glob("*.js"))
    vendored = size("vendor/openseadragon/openseadragon.min.js") + size("vendor/junicode/signs.woff2")
    assert first + editor + size("locales/de.json") + vendored < 250_000


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_all_texts_with_the_same_places_to_fill_in(language: str):
    english, other = texts("en"), texts(language)
    assert list(other) == list(english)
    for key, text in english.items():
        assert names_in(other[key]) == names_in(text), key
        assert isinstance(other[key], dict) == isinstance(text, dict), key
        assert "other" in (other[key] if isinstance(other[key], dict) else {"other": ""})


def test_every_text_that_the_page_asks_for_exists_and_every_one_is_used():
    english = texts("en")
    source = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    asked = set(re.findall(r"""\bt\(\s*"([\w.-]+)\"""", source))
    assert asked - set(english) == set()
    unused = [key for key in english if f'"{key}"' not in source and not is_built(key, source)]
    assert unused == []


def codes_in(source: str) -> set[str]:
    """Codes that errors of a module are raised with."""
    found: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            found += [keyword.value for keyword in node.keywords if keyword.arg == "code"]
        if isinstance(node, ast.arguments):
            defaults = zip(node.kwonlyargs, node.kw_defaults, strict=True)
            found += [default for argument, default in defaults if argument.arg == "code"]
    return {node.value for node in found if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_code_of_a_problem_has_its_words_in_each_language(language: str):
    sources = (STATIC.parents[1]).rglob("*.py")
    codes = {code for path in sources for code in codes_in(path.read_text(encoding="utf-8"))}
    assert len(codes) > 30
    assert {key for key in texts(language) if key.startswith("problem.")} == {f"problem.{code}" for code in codes}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_kind_of_fault_has_its_words_in_each_language(language: str):
    assert {f"fault.{kind}" for kind in get_args(FaultKind)} <= set(texts(language))


def is_built(key: str, source: str) -> bool:
    """Whether a key is put together where it is asked for, such as `state.${page.state}`."""
    places = [i for i, letter in enumerate(key) if letter in "._"]
    return any(f"`{key[: i + 1]}${{" in source for i in places)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_make_no_html_of_text(path: Path):
    source = path.read_text(encoding="utf-8")
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", source) == []


def test_vendored_libraries_come_with_their_licence():
    for folder in (STATIC / "vendor").iterdir():
        assert (folder / "LICENSE.txt").is_file()


def test_fonts_come_as_they_are_since_they_are_compressed(client: TestClient):
    answer = client.get(f"/static/{pages.stamp()}/vendor/junicode/signs.woff2", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-type"] == "font/woff2"
    assert "content-encoding" not in answer.headers
    assert answer.content == (STATIC / "vendor" / "junicode" / "signs.woff2").read_bytes()


def test_the_palette_has_a_sign_of_its_own_for_all_that_common_fonts_lack():
    palette = re.search(r'PALETTE = "(.+)";', (STATIC / "js" / "editor" / "dock.js").read_text(encoding="utf-8"))
    assert palette is not None
    signs = json.loads(f'"{palette[1]}"').split()
    assert len(set(signs)) == len(signs)
    # Of Latin Extended-D and the private-use area, and the letters above others of early German hands.
    rare = {letter for sign in signs for letter in sign if "\ua720" <= letter <= "\uf8ff" or letter in "⁊⸗ͤͦ"}
    assert len(rare) > 20
    assert {ord(letter) for letter in rare} - drawn_by("signs.woff2") == set()


@pytest.mark.parametrize("name", ["signs.woff2", "mufi.woff2"])
def test_the_style_sheet_asks_for_a_font_where_it_has_the_sign(name: str):
    css = (STATIC / "css" / "base.css").read_text(encoding="utf-8")
    ranges = re.search(rf"{name}.*?unicode-range:([^;]+);", css, re.DOTALL)
    assert ranges is not None
    asked = set()
    for part in re.findall(r"U\+([\dA-F]+)(?:-([\dA-F]+))?", ranges[1]):
        asked |= set(range(int(part[0], 16), int(part[1] or part[0], 16) + 1))
    assert drawn_by(name) - asked == set()
    assert (STATIC / "vendor" / "junicode" / name).stat().st_size < 100_000


def drawn_by(name: str) -> set[int]:
    """The characters of a font of the page."""
    with TTFont(STATIC / "vendor" / "junicode" / name) as font:
        return set(font.getBestCmap())
