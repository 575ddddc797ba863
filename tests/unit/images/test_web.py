import time
from collections.abc import Iterator

import pytest
from webserver import Answer, WebServer, serve

from quillread.errors import ConfigError, ImageError
from quillread.images.web import WebConfig, fetch, is_address


@pytest.fixture
def site() -> Iterator[WebServer]:
    with serve() as found:
        yield found


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited between tries."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


def test_a_file_is_fetched(site: WebServer):
    assert fetch(site.add("/a", Answer(b"content"))) == b"content"


def test_letters_and_spaces_of_an_address_are_quoted_and_quoted_ones_stay(site: WebServer):
    site.add("/%C3%A9%20b%2Fc", Answer(b"content"))
    assert fetch(f"{site.address}/é b%2Fc") == b"content"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_answer_that_may_pass_is_asked_for_again(status: int, site: WebServer, waits: list[float]):
    assert fetch(site.add("/a", Answer(status=status), Answer(status=status), Answer(b"content"))) == b"content"
    assert waits == [1.0, 2.0]


def test_the_wait_that_a_server_asks_for_is_kept_within_reason(site: WebServer, waits: list[float]):
    slow = [
        Answer(status=503, headers={"Retry-After": wait}) for wait in ("7", "86400", "Wed, 21 Oct 2026 07:28:00 GMT")
    ]
    fetch(site.add("/a", *slow, Answer(b"content")))
    assert waits == [7.0, 60.0, 4.0]


def test_a_server_that_stays_away_is_given_up(site: WebServer, waits: list[float]):
    address = site.add("/a", Answer(status=503))
    with pytest.raises(ImageError, match=f"{address}: HTTP 503 after 3 tries"):
        fetch(address, WebConfig(retries=2))
    assert len(site.asked) == 3


@pytest.mark.parametrize(("status", "hint"), [(404, "check the address"), (403, "download it")])
def test_a_final_answer_is_not_asked_for_again(status: int, hint: str, site: WebServer):
    address = site.add("/a", Answer(status=status))
    with pytest.raises(ImageError, match=f"HTTP {status}") as caught:
        fetch(address)
    assert hint in str(caught.value)
    assert len(site.asked) == 1


def test_a_file_that_is_too_large_is_refused(site: WebServer):
    address = site.add("/a", Answer(b"x" * 200_000))
    with pytest.raises(ImageError, match="is larger than 100,000 bytes"):
        fetch(address, WebConfig(max_bytes=100_000))


def test_a_file_that_is_cut_off_is_asked_for_again(site: WebServer, waits: list[float]):
    assert fetch(site.add("/a", Answer(b"cont", length=7), Answer(b"content"))) == b"content"


def test_a_server_that_falls_silent_is_given_up(site: WebServer):
    address = site.add("/a", Answer(b"content", wait=30))  # who waits that long gets it all, and no error
    with pytest.raises(ImageError, match=r"no answer from 127\.0\.0\.1"):
        fetch(address, WebConfig(timeout=0.2, retries=0))


def test_a_server_that_is_not_there_is_named(waits: list[float]):
    with serve() as site:
        address = f"{site.address}/a"
    with pytest.raises(ImageError, match=r"no answer from 127\.0\.0\.1:[0-9]+: .*refused"):
        fetch(address, WebConfig(retries=0))


def test_a_redirect_is_followed(site: WebServer):
    site.add("/b", Answer(b"content"))
    assert fetch(site.add("/a", Answer(status=302, headers={"Location": "/b"}))) == b"content"


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/b", "file:///etc/hostname"])
def test_a_redirect_out_of_the_web_is_not_followed(target: str, site: WebServer):
    address = site.add("/a", Answer(status=302, headers={"Location": target}))
    with pytest.raises(ImageError, match="HTTP 302"):
        fetch(address)


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/b", "/etc/hostname"])
def test_other_addresses_are_refused(address: str):
    assert not is_address(address)
    with pytest.raises(ImageError, match="is no http or https address"):
        fetch(address)


@pytest.mark.parametrize("address", ["http://127.0.0.1:port/a", "http://[::1/a", "https://"])
def test_a_malformed_address_is_an_error(address: str):
    with pytest.raises(ImageError, match=r"is no address|no answer"):
        fetch(address, WebConfig(retries=0))


@pytest.mark.parametrize("values", [{"timeout": 0}, {"timeout": 4000}, {"retries": -1}, {"max_bytes": 0}])
def test_settings_out_of_range_are_refused(values: dict[str, int]):
    with pytest.raises(ConfigError, match=r"read\.web\."):
        WebConfig(**values)  # type: ignore[arg-type]
