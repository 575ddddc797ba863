import pytest

from quillread.config import apply_overrides, build
from quillread.errors import ConfigError, ImageError
from quillread.images.document import ReadConfig
from quillread.images.web import WebConfig, WebPolicy, is_address, parse_address, printable

PUBLIC = "http://8.8.8.8/a"


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/b", "/etc/hostname"])
def test_addresses_outside_the_web_are_refused(address: str):
    assert not is_address(address)
    with pytest.raises(ImageError, match=f"{address}: is not an http or https address"):
        parse_address(address)


@pytest.mark.parametrize(
    "address",
    [
        *("http://127.0.0.1:port/a", "http://[::1/a", "https://", "http://a%2eb/", "http://a b/", "http://a:70000/"),
        *("http://[fe80::1%25a]/", "http://a\\b/", "http://a..b/", "http://a/" + "b" * 10_000),
    ],
)
def test_a_malformed_address_is_an_error(address: str):
    with pytest.raises(ImageError, match="is not a valid address"):
        parse_address(address)


def test_an_address_with_a_password_is_refused_without_telling_it():
    with pytest.raises(ImageError, match="user or password") as caught:
        parse_address("http://me:secret@library.example/")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "parts", "again"),
    [
        ("HTTP://Library.Example.:80", ("http", "library.example", 80, "/"), "http://library.example/"),
        ("https://a:8443/b?c=d e#f", ("https", "a", 8443, "/b?c=d%20e"), "https://a:8443/b?c=d%20e"),
        ("http://[::1]:8000/é%2F", ("http", "::1", 8000, "/%C3%A9%2F"), "http://[::1]:8000/%C3%A9%2F"),
        ("http://müller.example/", ("http", "xn--mller-kva.example", 80, "/"), "http://xn--mller-kva.example/"),
        ("http://\uff11\uff12\uff17.0.0.1/", ("http", "127.0.0.1", 80, "/"), "http://127.0.0.1/"),
    ],
)
def test_an_address_is_taken_apart(address: str, parts: tuple[str, str, int, str], again: str):
    parsed = parse_address(address)
    assert (parsed.scheme, parsed.host, parsed.port, parsed.target) == parts
    assert str(parsed) == again


def test_quotations_hold_no_control_characters_and_end():
    assert printable("a\x1b[2J\n\u202eb") == "a�[2J��b"
    assert len(printable("x" * 10_000)) < 400


# --- whom a policy lets ask -------------------------------------------------------------------------------------------

PRIVATE = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "127.0.0.1.", "[::1]", "[::]"),
    *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]"),
    *("0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "169.254.169.254"),
    *("[::ffff:a9fe:a9fe]", "[64:ff9b:1::1]", "[fd00:ec2::254]", "[fc00::1]", "[fe80::1]", "[fec0::1]"),
    *("224.0.0.1", "240.0.0.1", "255.255.255.255", "[ff02::1]", "[100::1]"),
]


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_address_is_refused_in_any_spelling(host: str):
    address = parse_address(f"http://{host}/a")
    policy = WebPolicy("named", parse_address(PUBLIC)).naming([str(address)])
    policy.locate(parse_address(PUBLIC))
    for check in (policy.locate, policy.check):
        with pytest.raises(ImageError, match="is in a private network, which you did not name"):
            check(address)


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "[2606:4700::1111]", "[64:ff9b::808:808]", "[::ffff:8.8.8.8]", "134744072"]
)
def test_a_public_address_that_a_manifest_names_is_allowed(host: str):
    address = parse_address(f"http://{host}/a")
    assert WebPolicy("named").naming([str(address)]).locate(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1", "[fd00::1]", "0.0.0.0"])
def test_a_private_address_that_was_given_may_be_asked_again(host: str):
    given = parse_address(f"http://{host}:8000/manifest.json")
    policy = WebPolicy("named", given).naming([])
    for check in (policy.locate, policy.check):
        check(given)
        check(parse_address(f"http://{host}:8000/a.png"))


def test_the_names_of_this_machine_are_one():
    given = parse_address("http://127.0.0.1:8000/manifest.json")
    policy = WebPolicy("named", given).naming(["http://localhost:8000/"])
    policy.locate(given)
    policy.locate(parse_address("http://localhost:8000/a.png"))


@pytest.mark.parametrize("other", ["http://10.0.0.1:8001/", "http://10.0.0.2:8000/", "http://127.0.0.1:8000/"])
def test_a_private_address_that_was_given_opens_no_other_port_or_machine(other: str):
    given = parse_address("http://10.0.0.1:8000/manifest.json")
    policy = WebPolicy("named", given).naming([other])
    policy.locate(given)
    with pytest.raises(ImageError, match="private network"):
        policy.locate(parse_address(other))


def test_a_private_address_may_lead_from_http_to_https():
    given = parse_address("http://10.0.0.1/manifest.json")
    policy = WebPolicy("named", given)
    policy.locate(given)
    policy.locate(parse_address("https://10.0.0.1/manifest.json"))


def looked_up(monkeypatch: pytest.MonkeyPatch, *machines: str) -> None:
    found = [(2, 1, 6, "", (machine, 80)) for machine in machines]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)


@pytest.mark.parametrize("machines", [["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["fe80::1%lo"]])
def test_a_name_in_a_manifest_for_a_private_machine_is_refused(machines: list[str], monkeypatch: pytest.MonkeyPatch):
    looked_up(monkeypatch, *machines)
    address = parse_address("http://images.example/a")
    with pytest.raises(ImageError, match=r"http://images\.example/a: is in a private network") as caught:
        WebPolicy("named").naming([str(address)]).locate(address)
    assert "10.0" not in str(caught.value)


def test_a_name_that_was_given_may_stand_for_a_private_machine(monkeypatch: pytest.MonkeyPatch):
    looked_up(monkeypatch, "10.0.0.1", "10.0.0.2")
    given = parse_address("http://library.intern/manifest.json")
    assert len(WebPolicy("named", given).locate(given)) == 2


def test_a_name_that_was_given_may_not_stand_for_public_and_private_machines(monkeypatch: pytest.MonkeyPatch):
    looked_up(monkeypatch, "8.8.8.8", "127.0.0.1")
    given = parse_address("http://library.example/manifest.json")
    with pytest.raises(ImageError, match="private network"):
        WebPolicy("named", given).locate(given)


def test_a_name_that_was_given_may_not_go_to_and_fro(monkeypatch: pytest.MonkeyPatch):
    given = parse_address("http://library.example/manifest.json")
    policy = WebPolicy("named", given)
    for machine in ("127.0.0.1", "8.8.8.8"):
        looked_up(monkeypatch, machine)
        policy.locate(given)
    looked_up(monkeypatch, "127.0.0.1")
    with pytest.raises(ImageError, match="private network"):
        policy.locate(given)


def test_a_host_that_nobody_named_is_refused():
    policy = WebPolicy("named", parse_address(PUBLIC)).naming(["http://9.9.9.9/", "not an address", "http://[/"])
    policy.locate(parse_address("http://9.9.9.9/b"))
    with pytest.raises(ImageError, match=r"http://1\.1\.1\.1/: is on a host that you did not name"):
        policy.locate(parse_address("http://1.1.1.1/"))


def test_any_allows_every_host_and_off_none():
    for address in map(parse_address, (PUBLIC, "http://10.0.0.1/")):
        assert WebPolicy("any").locate(address)
        with pytest.raises(ImageError, match=r"read\.web\.allow is off"):
            WebPolicy("off", address).locate(address)


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values", [{"timeout": 0}, {"timeout": 4000}, {"retries": -1}, {"max_bytes": 0}, {"allow": "all"}]
)
def test_settings_out_of_range_are_refused(values: dict[str, int]):
    with pytest.raises(ConfigError, match=r"read\.web\."):
        WebConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("allow", ["off", "named", "any"])
def test_whom_the_web_may_be_asked_for_is_set_by_its_name(allow: str):
    assert build(ReadConfig, apply_overrides({}, [f"web.allow={allow}"])).web.allow == allow
