"""Logging in, members, links for readers, tokens and accounts, with the keyboard alone; and what readers see."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from browsing import PASSWORD, SHOTS, Served, expect, findings


def log_in(tab: Any, team: Served, name: str, path: str = "", password: str = PASSWORD) -> None:
    tab.goto(f"{team.address}/#/{path}")
    tab.locator("#login-name:focus").wait_for()
    tab.keyboard.type(name)
    tab.keyboard.press("Tab")
    tab.keyboard.type(password)
    tab.keyboard.press("Enter")


def press(tab: Any, name: str) -> None:
    tab.get_by_role("button", name=name, exact=True).press("Enter")


def open_menu(tab: Any, name: str) -> None:
    press(tab, name)
    tab.locator("[role=menuitem]:focus").wait_for()


def make_link(tab: Any, team: Served, name: str, collection: int = 1) -> str:
    """Make a link as an admin who is logged in; its address."""
    tab.goto(f"{team.address}/#/collection/{collection}/people")
    press(tab, "New link…")
    tab.locator("#link-name:focus").wait_for()
    tab.keyboard.type(name)
    tab.keyboard.press("Enter")
    address: str = tab.locator("#secret").input_value()
    tab.keyboard.press("Escape")
    tab.locator("dialog").wait_for(state="detached")
    return address


@contextmanager
def new_tab(browser: Any, **facts: Any) -> Iterator[Any]:
    """A tab of another person's browser."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB", **facts)
    context.set_default_timeout(20_000)
    try:
        yield context.new_page()
    finally:
        context.close()


# --- logging in


def test_a_wrong_password_is_told_and_the_right_one_leads_to_where_one_wanted(team: Served, tab: Any):
    log_in(tab, team, "editor", "collection/1", password="wrong")
    expect(tab.get_by_role("alert")).to_have_text("Name or password is wrong.")
    tab.locator("#login-password:focus").wait_for()  # selected, to be typed again
    tab.keyboard.type(PASSWORD)
    tab.keyboard.press("Enter")
    tab.locator(".cell").first.wait_for()
    assert tab.url.endswith("#/collection/1")


def test_logging_out_asks_for_a_login_again(team: Served, tab: Any):
    log_in(tab, team, "reader")
    tab.locator(".card").first.wait_for()
    open_menu(tab, "Language and appearance")
    tab.keyboard.press("End")
    assert tab.evaluate("document.activeElement.textContent") == "Log out reader"
    tab.keyboard.press("Enter")
    tab.locator("#login-name:focus").wait_for()
    tab.goto(f"{team.address}/#/collection/1")
    tab.locator("#login-name").wait_for()


def test_edits_wait_for_whoever_made_them_when_another_logs_in(team: Served, tab: Any, context: Any):
    log_in(tab, team, "editor", "page/2")
    field = tab.locator("textarea.field")
    field.wait_for()
    other = context.new_page()
    other.goto(f"{team.address}/#/page/2")
    other.locator("textarea.field").wait_for()
    before = team.lines(2)[0]
    tab.route("**/api/v1/lines/*/text", lambda route: route.abort())
    tab.keyboard.type("mine ")
    tab.locator(".save-state[data-state=offline]").wait_for()
    tab.evaluate("fetch('api/v1/logout', {method: 'POST'})")  # as the session ends by itself
    tab.unroute("**/api/v1/lines/*/text")
    tab.keyboard.press("Control+s")
    log_in(tab, team, "admin", "login?then=%23/page/2")
    tab.locator(".save-state[data-state=saved]").wait_for()
    assert (team.lines(2)[0]["text"], field.input_value()) == (before["text"], before["text"])
    # The other tab has begun anew under the name of whoever has logged in.
    other.wait_for_function(
        "localStorage.getItem('quill.user') && document.querySelector('.save-state[data-state=saved]')"
    )
    open_menu(other, "Language and appearance")
    assert "Log out admin" in other.locator("[role=menuitem]").all_text_contents()
    tab.evaluate("fetch('api/v1/logout', {method: 'POST'})")
    log_in(tab, team, "editor", "login?then=%23/page/2")
    expect(field).to_have_value("mine " + before["text"])
    tab.locator(".save-state[data-state=saved]").wait_for()
    after = team.lines(2)[0]
    assert (after["text"], after["author"]) == ("mine " + before["text"], "editor")


def test_logging_out_waits_for_what_was_typed(team: Served, tab: Any):
    log_in(tab, team, "editor", "page/3")
    tab.locator("textarea.field").wait_for()
    tab.keyboard.type("last ")
    open_menu(tab, "Language and appearance")
    tab.keyboard.press("End")
    tab.keyboard.press("Enter")
    tab.locator("#login-name:focus").wait_for()
    assert team.lines(3)[0]["text"].startswith("last ")


def test_a_session_that_ends_amid_edits_and_a_dialog_asks_for_a_login_and_loses_nothing(team: Served, tab: Any):
    log_in(tab, team, "editor", "page/2")
    tab.locator("textarea.field:focus").wait_for()
    before = team.lines(2)
    tab.context.clear_cookies()
    tab.keyboard.insert_text("kept ")  # at once: the login comes as soon as one pauses
    tab.keyboard.press("F1")
    tab.locator("#login-name:focus").wait_for()
    expect(tab.locator("dialog")).to_have_count(0)
    tab.keyboard.type("editor")
    tab.keyboard.press("Tab")
    tab.keyboard.type(PASSWORD)
    tab.keyboard.press("Enter")
    tab.locator("textarea.field:focus").wait_for()
    tab.locator(".save-state[data-state=saved]").wait_for()
    assert team.lines(2)[0]["text"] == "kept " + before[0]["text"]


# --- links for readers


def test_a_link_opens_its_collection_read_only_until_it_is_withdrawn(team: Served, tab: Any, browser: Any):
    log_in(tab, team, "admin")
    tab.locator(".card").first.wait_for()
    address = make_link(tab, team, "The family")
    with new_tab(browser) as guest:
        asked: list[str] = []
        guest.on("request", lambda request: asked.append(request.url + str(request.headers)))
        guest.goto(address)
        guest.locator(".cell").first.wait_for()
        secret = address.rpartition("/")[2]
        assert guest.url == f"{team.address}/#/collection/1"  # the secret does not stay in sight
        assert not any(secret in one for one in asked)
        expect(guest.locator(".read-only")).to_have_text("Read only")
        guest.locator(".grid").focus()
        guest.keyboard.press("Enter")
        field = guest.locator("textarea.field:focus")
        before = field.input_value()
        guest.keyboard.type("mine")
        guest.keyboard.press("Alt+7")
        guest.keyboard.press("F9")
        assert field.input_value() == before
        guest.keyboard.press("Enter")
        assert guest.locator("li.line").nth(1).evaluate("line => line.matches('.active')")
        assert not any(line["checked"] for line in team.lines(1))
        for path in ("collection/2", "page/4"):
            guest.goto(f"{team.address}/#/{path}")
            guest.get_by_role("heading", name="This does not exist (any more)").wait_for()
        guest.goto(f"{team.address}/#/")
        guest.locator(".cell").first.wait_for()
        assert guest.url.endswith("#/collection/1")  # there is no list of collections
        press(tab, "Withdraw the link The family")
        tab.get_by_text("There are no links.").wait_for()
        guest.goto(f"{team.address}/#/page/1")
        guest.get_by_role("heading", name="This link does not work any more").wait_for()
        guest.goto(address)
        guest.get_by_role("heading", name="This link does not work any more").wait_for()


def test_whoever_reads_by_a_link_is_told_at_once_when_it_is_withdrawn(team: Served, tab: Any, browser: Any):
    log_in(tab, team, "admin")
    tab.locator(".card").first.wait_for()
    address = make_link(tab, team, "A short visit")
    with new_tab(browser) as guest:
        guest.goto(address)
        guest.locator(".cell").first.wait_for()
        press(tab, "Withdraw the link A short visit")
        guest.get_by_role("heading", name="This link does not work any more").wait_for()


def test_whoever_opens_a_link_searches_prints_and_exports(team: Served, tab: Any, browser: Any):
    log_in(tab, team, "admin")
    tab.locator(".card").first.wait_for()
    address = make_link(tab, team, "Print and export")
    with new_tab(browser) as guest:
        refused: list[str] = []
        guest.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
        guest.goto(address)
        guest.locator(".cell").first.wait_for()
        guest.get_by_role("searchbox").focus()
        guest.keyboard.type("joueur")
        guest.keyboard.press("Enter")
        guest.locator(".hit").first.press("Enter")
        guest.locator("textarea.field").wait_for()
        guest.goto(f"{team.address}/#/page/1/print")
        guest.locator(".print-line").first.wait_for()
        guest.goto(f"{team.address}/#/collection/1")
        press(guest, "Export…")
        guest.get_by_role("button", name="Export", exact=True).press("Enter")
        guest.get_by_role("button", name="Show").press("Enter")
        guest.get_by_role("link", name="Download").wait_for(timeout=60_000)
        assert refused == []


def test_whoever_has_rights_keeps_their_login_when_they_open_a_link(team: Served, tab: Any, browser: Any):
    log_in(tab, team, "admin")
    tab.locator(".card").first.wait_for()
    address = make_link(tab, team, "Ourselves")
    with new_tab(browser) as other:
        log_in(other, team, "editor")
        other.locator(".card").first.wait_for()
        other.goto(address)
        other.locator(".cell").first.wait_for()
        other.get_by_role("button", name="Add pages").wait_for()


# --- what readers see


def test_a_reader_is_offered_nothing_that_is_refused(team: Served, tab: Any):
    refused: list[str] = []
    tab.on("response", lambda answer: refused.append(answer.url) if answer.status == 403 else None)
    log_in(tab, team, "reader")
    tab.locator(".card").first.wait_for()
    assert tab.get_by_role("link", name="Bin").count() == 0
    for path, shown in {
        "collection/1": ".cell",
        "page/1": "textarea.field",
        "search?q=joueur": ".hit",
        "account": "h2",
        "bin": "main",
    }.items():
        tab.goto(f"{team.address}/#/{path}")
        tab.locator(shown).first.wait_for()
        offered = tab.evaluate("[...document.querySelectorAll('button, main a')].map(one => one.textContent).join('|')")
        for name in ("Add pages", "Proofread", "Teach", "Members", "Layout", "Read again", "Delete", "Put back"):
            assert name not in offered, f"{path}: {name}"
    for path in ("review", "teach", "people"):
        tab.goto(f"{team.address}/#/collection/1/{path}")
        tab.wait_for_url("**/#/collection/1")
        tab.locator(".cell").first.wait_for()
    tab.goto(f"{team.address}/#/page/1")
    tab.locator("textarea.field:focus").wait_for()
    tab.keyboard.press("F1")
    expect(tab.locator("dialog")).not_to_contain_text("Undo")
    tab.keyboard.press("Escape")
    tab.keyboard.press("F4")
    tab.locator("dialog .version-text").first.wait_for()
    assert refused == []


def test_an_open_page_that_moves_to_where_one_only_reads_is_read_only(team: Served, tab: Any):
    there = team.call("POST", "collections", json={"name": "Kept as it is"})["id"]
    team.call("PUT", f"collections/{there}/members/2", json={"role": "reader"})
    document = team.call("GET", "pages/3")["document_id"]
    with tab.expect_response(lambda answer: answer.url.endswith("events?collection_id=1")):
        log_in(tab, team, "editor", "page/3")
    tab.locator("textarea.field:focus").wait_for()
    expect(tab.locator(".read-only")).to_have_count(0)
    with tab.expect_response(lambda answer: answer.url.endswith(f"events?collection_id={there}")):
        team.call("POST", f"collections/{there}/pages", json={"page_ids": [3]})
    expect(tab.locator(".read-only")).to_have_text("Read only")
    tab.wait_for_timeout(300)  # the server begins to tell just after it has answered
    team.call("PATCH", "pages/3", json={"document_id": document})
    expect(tab.locator(".read-only")).to_have_count(0)


# --- members, tokens, accounts


def roles_of(team: Served) -> dict[str, tuple[str, bool]]:
    items = team.call("GET", "collections/2/members")["items"]
    return {one["name"]: (one["role"], one["own"]) for one in items}


def test_members_are_added_changed_and_removed_by_keys(team: Served, tab: Any):
    log_in(tab, team, "admin", "collection/2/people")
    tab.get_by_label("Add a person").press("x")
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("alert")).to_have_text("There is no account named x.")
    tab.keyboard.type("none")
    tab.keyboard.press("Enter")
    role = tab.get_by_label("Role of none")
    role.wait_for()
    assert roles_of(team)["none"] == ("reader", True)
    role.focus()
    tab.keyboard.press("ArrowDown")
    expect(tab.locator("[data-key^=role]:focus")).to_have_value("editor")
    tab.wait_for_function("document.activeElement.matches('[data-key^=role]')")
    assert roles_of(team)["none"] == ("editor", True)
    press(tab, "Remove none")
    role.wait_for(state="detached")
    assert roles_of(team)["none"] == ("none", False)
    tab.get_by_label("Role of editor").select_option("none")
    tab.get_by_role("button", name="Remove editor").wait_for()
    assert roles_of(team)["editor"] == ("none", True)
    press(tab, "Remove editor")
    tab.get_by_role("button", name="Remove editor").wait_for(state="detached")
    assert roles_of(team)["editor"] == ("editor", False)


def test_a_token_is_made_shown_once_and_deleted_by_keys(team: Served, tab: Any):
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    log_in(tab, team, "editor", "account")
    press(tab, "New token…")
    tab.locator("#token-name:focus").wait_for()
    tab.keyboard.type("nightly")
    tab.locator("#token-where").select_option("Letters of an aunt")
    press(tab, "Make the token")
    secret = tab.locator("#secret").input_value()
    tab.get_by_role("button", name="Copy").press("Enter")
    tab.get_by_text("Copied").wait_for()
    assert tab.evaluate("navigator.clipboard.readText()") == secret
    tab.keyboard.press("Escape")
    tab.locator("dialog").wait_for(state="detached")
    item = tab.locator("li", has_text="nightly")
    expect(item).to_contain_text("Reader · Letters of an aunt · until")
    expect(item).to_contain_text("not used yet")
    headers = {"Authorization": f"Bearer {secret}"}
    assert httpx.get(f"{team.address}/api/v1/collections/1", headers=headers).json()["role"] == "reader"
    press(tab, "Delete the token nightly")
    item.wait_for(state="detached")
    assert httpx.get(f"{team.address}/api/v1/me", headers=headers).status_code == 401


def test_an_account_is_made_gets_another_password_and_is_disabled_by_keys(team: Served, tab: Any, browser: Any):
    log_in(tab, team, "admin", "account")
    press(tab, "New account…")
    tab.locator("#user-name:focus").wait_for()
    for text in ("carla", "Tab", "short", "Enter"):  # which the browser does not send
        tab.keyboard.press(text) if text in ("Tab", "Enter") else tab.keyboard.type(text)
    expect(tab.locator("#user-password:invalid")).to_be_focused()
    tab.keyboard.type(" but longer")
    tab.keyboard.press("Enter")
    tab.get_by_label("Role of carla").wait_for()
    open_menu(tab, "Menu of carla")
    tab.keyboard.press("Enter")
    tab.locator("#user-password:focus").wait_for()
    tab.keyboard.type("another password")
    tab.keyboard.press("Enter")
    tab.get_by_text("The password was changed").wait_for()
    with new_tab(browser) as other:
        log_in(other, team, "carla", "account", password="another password")
        other.get_by_role("heading", name="carla").wait_for()
        assert other.get_by_role("heading", name="Accounts").count() == 0
        open_menu(tab, "Menu of carla")
        tab.keyboard.press("ArrowDown")
        tab.keyboard.press("Enter")
        tab.locator("li.over", has_text="carla").wait_for()
        other.reload()
        other.locator("#login-name").wait_for()
    open_menu(tab, "Menu of carla")
    tab.keyboard.press("End")
    tab.keyboard.press("Enter")
    tab.get_by_role("button", name="Delete", exact=True).press("Enter")
    tab.locator("li", has_text="carla").wait_for(state="detached")


def test_one_changes_ones_own_password_by_keys(team: Served, tab: Any):
    team.call("POST", "users", json={"name": "dora", "password": PASSWORD, "role": "reader"})
    log_in(tab, team, "dora", "account")
    tab.locator("#password-now").press("w")
    tab.keyboard.press("Tab")
    tab.keyboard.type("a better password")
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("alert")).to_have_text("The password you have now is not this one.")
    tab.keyboard.type(PASSWORD)
    tab.keyboard.press("Enter")
    tab.get_by_text("The password was changed").wait_for()
    tab.reload()
    tab.get_by_role("heading", name="dora").wait_for()  # still logged in


def test_the_first_account_makes_everybody_log_in(tmp_path: Any, tab: Any):
    served = Served(tmp_path / "data")
    served.start()
    try:
        served.call("POST", "tokens", json={"name": "an old script", "role": "reader"})
        tab.goto(f"{served.address}/#/account")
        press(tab, "New account…")
        tab.locator("#user-name:focus").wait_for()
        tab.keyboard.type("anna")
        tab.keyboard.press("Tab")
        tab.keyboard.type(PASSWORD)
        tab.keyboard.press("Enter")
        tab.locator("#login-name:focus").wait_for()
        tab.keyboard.type("anna")
        tab.keyboard.press("Tab")
        tab.keyboard.type(PASSWORD)
        tab.keyboard.press("Enter")
        tab.get_by_role("heading", name="anna").wait_for()
        expect(tab.locator("li.over", has_text="an old script")).to_contain_text("ended with the first account")
    finally:
        served.stop()


# --- for everyone


@pytest.mark.parametrize(("scheme", "size"), [("light", (1280, 800)), ("dark", (820, 1180))])
def test_axe_finds_nothing_where_there_are_accounts(team: Served, browser: Any, scheme: str, size: tuple[int, int]):
    team.call("PUT", "collections/1/members/4", json={"role": "reader"})
    width, height = size
    SHOTS.mkdir(exist_ok=True)

    def look(name: str, tab: Any) -> None:
        tab.wait_for_timeout(400)
        tab.screenshot(path=SHOTS / f"{name}-{scheme}-{width}.png")
        assert findings(tab) == [], name

    with new_tab(browser, color_scheme=scheme) as tab, new_tab(browser, color_scheme=scheme) as guest:
        for one in (tab, guest):
            one.set_viewport_size({"width": width, "height": height})
        tab.goto(team.address)
        tab.locator("#login-name").wait_for()
        look("team-login", tab)
        tab.goto("about:blank")
        log_in(tab, team, "admin", "account")
        tab.locator("[data-key^=menu]").first.wait_for()
        look("team-account", tab)
        tab.goto(f"{team.address}/#/collection/1/people")
        tab.get_by_label("Role of none").wait_for()
        address = make_link(tab, team, "Readers of the history society")
        look("team-people", tab)
        for name in ("New link…", "New token…", "New account…"):
            if name == "New token…":
                tab.goto(f"{team.address}/#/account")
            press(tab, name)
            tab.locator("dialog[open]").wait_for()
            look(f"team-dialog-{name[4:-1]}", tab)
            tab.keyboard.press("Escape")
            tab.locator("dialog").wait_for(state="detached")
        guest.goto(address)
        guest.locator(".cell").first.wait_for()
        look("guest-collection", guest)
        guest.goto(f"{team.address}/#/page/1")
        guest.locator("textarea.field").wait_for()
        look("guest-page", guest)
