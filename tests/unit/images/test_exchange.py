import gzip
import itertools
import ssl
import time
import zlib
from collections.abc import Callable, Iterator

import pytest
from webserver import CERTIFICATE, Answer, Names, WebServer, forget_proxies, serve

from quillread.errors import ImageError
from quillread.images import exchange
from quillread.images.exchange import Budget, PassingError, ask
from quillread.images.web import Allow, WebConfig, WebPolicy, parse_address

PUBLIC = "93.184.215.14"
METADATA = "169.254.169.254"


def fetch(address: str, config: WebConfig | None = None, allow: Allow = "named") -> bytes:
    """As for an address that was given as such."""
    return exchange.fetch(address, config or WebConfig(), WebPolicy(allow, parse_address(address)))


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_proxies(monkeypatch)


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
    address = site.add("/a", Answer(b"content", wait=30))
    with pytest.raises(ImageError, match=r"no answer from 127\.0\.0\.1.* timed out"):
        fetch(address, WebConfig(timeout=0.2, retries=0))


def test_a_server_that_is_not_there_is_named(waits: list[float]):
    with serve() as site:
        address = f"{site.address}/a"
    with pytest.raises(ImageError, match=r"no answer from 127\.0\.0\.1:[0-9]+: .*refused"):
        fetch(address, WebConfig(retries=0))


def test_a_redirect_is_followed(site: WebServer):
    site.add("/b", Answer(b"content"))
    assert fetch(site.add("/a", Answer(status=302, headers={"Location": "/b"}))) == b"content"


def test_what_is_asked_for_is_an_uncompressed_image_or_a_manifest(site: WebServer):
    fetch(site.add("/a", Answer(b"content")))
    (headers,) = site.headers
    assert (headers["Accept-Encoding"], headers["Host"]) == ("identity", f"127.0.0.1:{site.port}")
    assert "image/*" in headers["Accept"] and "application/json" in headers["Accept"]


# --- redirects --------------------------------------------------------------------------------------------------------


def to(target: str, status: int = 302) -> Answer:
    return Answer(status=status, headers={"Location": target})


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/b", "file:///etc/hostname"])
def test_a_redirect_out_of_the_web_is_refused(target: str, site: WebServer):
    address = site.add("/a", to(target))
    with pytest.raises(ImageError, match=f"{address}: redirected to {target}: is not an http or https address"):
        fetch(address, allow="any")


def test_the_letters_of_a_redirect_stay_what_they_were(site: WebServer):
    site.add("/%C3%A9", Answer(b"content"))
    site.add("/a", Answer(head=b"HTTP/1.0 302 Found\r\nLocation: /\xc3\xa9\r\n\r\n"))
    assert fetch(f"{site.address}/a") == b"content"


def test_redirects_in_a_circle_are_given_up(site: WebServer):
    address = site.add("/a", to("/a"))
    with pytest.raises(ImageError, match="redirected more than 10 times"):
        fetch(address)
    assert len(site.asked) == 11


def test_a_missing_file_behind_a_redirect_tells_where_it_was_looked_for(site: WebServer):
    address = site.add("/a", to("/b"))
    with pytest.raises(ImageError, match=f"{address}: redirected to {site.address}/b: HTTP 404"):
        fetch(address)


def test_a_redirect_without_a_target_is_an_error(site: WebServer):
    with pytest.raises(ImageError, match="HTTP 302 Found"):
        fetch(site.add("/a", Answer(status=302)))


@pytest.mark.parametrize("status", [302, 404])
def test_the_body_of_a_redirect_or_an_error_is_never_read(status: int, site: WebServer):
    site.add("/b", Answer(b"content"))
    address = site.add("/a", Answer(status=status, headers={"Location": "/b"}, endless=b"x" * 65_536))
    if status == 302:
        assert fetch(address, WebConfig(max_bytes=10)) == b"content"
    else:
        with pytest.raises(ImageError, match="HTTP 404"):
            fetch(address, WebConfig(max_bytes=10))


# --- the policy at each step ------------------------------------------------------------------------------------------


def given_public(site: WebServer, monkeypatch: pytest.MonkeyPatch, *answers: str, **others: str) -> tuple[Names, str]:
    """A public host that is the server of the test; later look-ups of it have the further answers."""
    known = {"library.example": [[PUBLIC], *([machine] for machine in answers)]}
    known |= {f"{name}.example": [[machine]] for name, machine in others.items()}
    return Names(monkeypatch, site, known), f"http://library.example:{site.port}"


@pytest.mark.parametrize("target", [f"http://{METADATA}/latest", "http://[::1]/", "http://2130706433/"])
def test_a_redirect_into_a_private_network_is_refused(target: str, site: WebServer, monkeypatch: pytest.MonkeyPatch):
    names, root = given_public(site, monkeypatch)
    site.add("/a", to(target))
    policy = WebPolicy("named", parse_address(f"{root}/a")).naming([target])
    with pytest.raises(ImageError, match=r"a: redirected to http.*/: is in a private network|latest: is in a private"):
        exchange.fetch(f"{root}/a", WebConfig(), policy)
    assert names.connected == [PUBLIC]


def test_a_redirect_to_a_host_that_was_not_named_is_refused(site: WebServer, monkeypatch: pytest.MonkeyPatch):
    names, root = given_public(site, monkeypatch, elsewhere=PUBLIC)
    site.add("/a", to(f"http://elsewhere.example:{site.port}/b"))
    site.add("/b", Answer(b"content"))
    with pytest.raises(ImageError, match=r"redirected to .*elsewhere.*: is on a host that you did not name") as caught:
        fetch(f"{root}/a")
    assert "read.web.allow=any" in str(caught.value)
    assert names.connected == [PUBLIC]
    assert fetch(f"{root}/a", allow="any") == b"content"


def test_a_host_with_and_without_www_is_one(site: WebServer, monkeypatch: pytest.MonkeyPatch):
    Names(monkeypatch, site, {name: [[PUBLIC]] for name in ("library.example", "www.library.example")})
    site.add("/a", to(f"http://www.library.example:{site.port}/b"))
    site.add("/b", Answer(b"content"))
    assert fetch(f"http://library.example:{site.port}/a") == b"content"


def test_the_connection_goes_to_the_address_that_was_checked(site: WebServer, monkeypatch: pytest.MonkeyPatch):
    names, root = given_public(site, monkeypatch, "127.0.0.2")
    site.add("/a", Answer(b"content"))
    assert fetch(f"{root}/a") == b"content"
    assert names.connected == [PUBLIC]
    assert names.known["library.example"] == [["127.0.0.2"]]  # and it was looked up once


def test_a_name_that_becomes_that_of_this_machine_is_refused(site: WebServer, monkeypatch: pytest.MonkeyPatch):
    names, root = given_public(site, monkeypatch, "127.0.0.1")
    site.add("/a", to("/b"))
    with pytest.raises(ImageError, match="/b: is in a private network"):
        fetch(f"{root}/a")
    assert (names.connected, site.asked) == ([PUBLIC], ["/a"])


def test_nothing_is_asked_where_the_web_is_off(site: WebServer):
    with pytest.raises(ImageError, match=r"read\.web\.allow is off"):
        fetch(site.add("/a", Answer(b"content")), allow="off")
    assert site.asked == []


# --- one deadline and one count of bytes ------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "content": Answer(head=OK + b"\r\n", endless=b"x" * 1000),
    "100 Continue": Answer(head=b"", endless=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trailers": Answer(b"0\r\n", head=CHUNKED, endless=b"X-Header: y\r\n"),
    "chunks": Answer(head=CHUNKED, endless=b"1\r\nx\r\n"),
}


@pytest.mark.parametrize("part", ENDLESS)
def test_an_answer_without_an_end_is_given_up_by_its_bytes(part: str, site: WebServer):
    with pytest.raises(ImageError, match="is larger than 10,000 bytes"):
        fetch(site.add("/a", ENDLESS[part]), WebConfig(max_bytes=10_000, retries=0))


DRIPPING = ENDLESS | {"a header": Answer(head=OK + b"X-Header: ", endless=b"x", wait=0.01)}


@pytest.mark.parametrize("part", DRIPPING)
def test_an_answer_without_an_end_is_given_up_by_its_time(part: str, site: WebServer):
    address = site.add("/a", DRIPPING[part])
    seconds = itertools.count()  # each look at the clock is a second later
    budget = Budget(WebConfig(timeout=2), lambda: float(next(seconds)))
    with pytest.raises(PassingError, match=r"not finished after [0-9,]+ bytes"):
        ask(address, WebPolicy("named", parse_address(address)), budget)
    assert next(seconds) < 30


def test_more_headers_than_a_server_has_a_use_for_are_refused(site: WebServer):
    address = site.add("/a", Answer(head=OK, endless=b"X-Header: y\r\n"))
    with pytest.raises(ImageError, match="more than 100 headers"):
        fetch(address, WebConfig(retries=0))


def test_a_file_that_is_said_to_be_too_large_is_not_read(site: WebServer):
    address = site.add("/a", Answer(length=10**12))
    with pytest.raises(ImageError, match="is larger than 100,000 bytes"):
        fetch(address, WebConfig(max_bytes=100_000))


def test_a_file_of_just_the_largest_size_is_read(site: WebServer):
    assert len(fetch(site.add("/a", Answer(b"x" * 1000)), WebConfig(max_bytes=1000))) == 1000


# --- compressed answers -----------------------------------------------------------------------------------------------


def bare(content: bytes) -> bytes:
    return zlib.compress(content)[2:-4]


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("deflate", zlib.compress), ("deflate", bare)],
)
def test_a_compressed_answer_is_unpacked(encoding: str, compress: Callable[[bytes], bytes], site: WebServer):
    content = bytes(range(256)) * 3000
    assert fetch(site.add("/a", Answer(compress(content), headers={"Content-Encoding": encoding}))) == content


def test_a_compressed_bomb_is_refused_before_it_is_unpacked(site: WebServer):
    bomb = gzip.compress(bytes(5_000_000), 9)
    address = site.add("/a", Answer(bomb, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(ImageError, match="is larger than 100,000 bytes"):
        fetch(address, WebConfig(max_bytes=100_000))


def test_a_bomb_takes_no_more_memory_than_the_limit():
    address = parse_address("http://library.example/")
    unpacked = exchange._Unpacker("gzip", address).unpack(gzip.compress(bytes(5_000_000)), 1001)
    assert len(unpacked) == 1001


PACKED = gzip.compress(b"content", mtime=0)


@pytest.mark.parametrize("content", [PACKED[:-9], b"content", PACKED * 2], ids=["cut", "not packed", "twice"])
def test_a_compressed_answer_that_is_damaged_is_asked_for_again(content: bytes, site: WebServer, waits: list[float]):
    address = site.add("/a", Answer(content, headers={"Content-Encoding": "gzip"}), Answer(b"content"))
    assert fetch(address) == b"content"


def test_an_answer_of_another_encoding_is_told_as_such(site: WebServer):
    with pytest.raises(ImageError, match="is compressed as 'br', which cannot be read"):
        fetch(site.add("/a", Answer(b"content", headers={"Content-Encoding": "br"})))


# --- messages, certificates and proxies -------------------------------------------------------------------------------


def test_what_a_server_says_cannot_drive_a_terminal(site: WebServer):
    address = site.add("/a", Answer(head=b"HTTP/1.1 404 \x1b[2J\x07gone\r\n\r\n"))
    with pytest.raises(ImageError, match=r"HTTP 404 �\[2J�gone"):
        fetch(address)
    for target, message in ((b"gopher://\x1b2J", "is not an http"), (b"http://\x1b[2J", "is not a valid address")):
        site.add("/a", Answer(head=b"HTTP/1.1 302 Found\r\nLocation: %s\r\n\r\n" % target))
        with pytest.raises(ImageError, match=f"redirected to .*{message}") as caught:
            fetch(address)
        assert "\x1b" not in str(caught.value)


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate of library.example is trusted."""
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    monkeypatch.setattr(exchange, "_trusting", lambda: context)


@pytest.fixture
def safe_site(trust: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server over HTTPS that says that it is library.example, also to who asks for intruder.example."""
    with serve(CERTIFICATE) as found:
        Names(monkeypatch, found, {name: [[PUBLIC]] for name in ("library.example", "intruder.example")})
        yield found


def test_a_certificate_is_checked_against_the_name_and_not_the_address(safe_site: WebServer):
    safe_site.add("/a", Answer(b"content"))
    assert fetch(f"https://library.example:{safe_site.port}/a") == b"content"
    with pytest.raises(ImageError, match="its certificate is not valid"):
        fetch(f"https://intruder.example:{safe_site.port}/a")


def test_a_proxy_of_the_environment_is_asked_for_the_whole_address(site: WebServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", f"http://me:p%40ss@127.0.0.1:{site.port}")
    site.add("http://library.example/a", Answer(b"content"))
    assert fetch("http://library.example/a") == b"content"
    assert site.headers[0]["Proxy-Authorization"] == "Basic bWU6cEBzcw=="
    assert site.headers[0]["Host"] == "library.example"


@pytest.mark.parametrize("host", [METADATA, "2130706433", "localhost", "[::1]"])
def test_a_proxy_is_not_asked_for_a_private_address(host: str, site: WebServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", site.address)
    address = f"http://{host}/a"
    policy = WebPolicy("named", parse_address("http://library.example/")).naming([address])
    with pytest.raises(ImageError, match="is in a private network"):
        exchange.fetch(address, WebConfig(), policy)
    assert site.asked == []


def test_a_safe_address_is_asked_for_through_a_tunnel_of_the_proxy(
    trust: None, site: WebServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("https_proxy", site.address)
    site.add("/a", Answer(b"content"))
    assert fetch("https://library.example/a") == b"content"
    assert site.asked == ["library.example:443", "/a"]
    assert site.headers[0]["Host"] == "library.example"
    with pytest.raises(ImageError, match="its certificate is not valid"):
        fetch("https://intruder.example/a")


def test_a_proxy_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://me:secret@:port")
    with pytest.raises(ImageError, match="proxy that the environment names is not a valid address") as caught:
        fetch("http://library.example/a")
    assert "http_proxy" in str(caught.value) and "secret" not in str(caught.value)
