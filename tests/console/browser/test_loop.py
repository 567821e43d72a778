"""The Loop view: one scope's numbers in words and pictures, live, and commands that nobody gives by accident."""

from collections.abc import Sequence

import msgspec
import pytest
from msgspec.structs import replace
from playwright.sync_api import Browser, Locator, Page, Route, expect

from streams.console.loop import ScopeRecords
from streams.console.views import Me
from tests.console.browser import samples
from tests.console.browser.fake import Fake

EFFECT = {"records": 1, "in_force": True, "delay_ms": 41.6, "refused": "", "took_back": [], "remains": [], "unseen": False, "revoked": {}}
SETTLED_MS = 1_000  # longer than any read is put off
HOSTILE = '<img src=x onerror="document.title=1">'


def opened(page: Page, fake: Fake, *held: ScopeRecords, path: str = "/loop/shop") -> Locator:
    """Open the view over a console that knows these scopes, and wait until it is read."""
    samples.put(fake, *(held or (samples.records(),)))
    fake.canned["/control"] = (200, EFFECT)
    page.goto(f"{fake.url}{path}")
    article = page.locator("article.loop[aria-busy=false]")
    expect(article).to_be_visible()
    return article


def sentences(value: object) -> list[str]:
    """Every sentence that the API gives for the page."""
    if isinstance(value, dict):
        own = [text for name, text in value.items() if name.endswith("says") and isinstance(text, str)]
        return own + [text for inner in value.values() for text in sentences(inner)]
    return [text for inner in value for text in sentences(inner)] if isinstance(value, list | tuple) else []


@pytest.mark.parametrize("held", [samples.records(), samples.bare("shop")], ids=["full", "bare"])
def test_every_sentence_of_the_scope_is_on_the_page(page: Page, fake: Fake, held: ScopeRecords) -> None:
    """What the API says of loss, overrides, budget, thresholds, trust, monitor, retrainings and model is on the page, or its absence is."""
    article = opened(page, fake, held)
    for sentence in sentences(msgspec.to_builtins(samples.view(held))):
        expect(article).to_contain_text(" ".join(sentence.split()))


def test_loss_and_monitor_are_told_as_numbers_too(page: Page, fake: Fake) -> None:
    """Each chart has a name and a table with every window's numbers, missing ones too, the newest first."""
    article = opened(page, fake)
    view = samples.view(samples.records())
    losses = [(each.loss, each.loss_high, each.loss_low, view.loss.target) for each in view.loss.series]
    statistics = [(each.statistic, each.price) for each in view.monitor.decisions]
    shown: list[tuple[str, str, str, Sequence[tuple[float | None, ...]]]] = [
        ("#alignment-loss", "Alignment loss by window, with its interval", view.loss.says, losses),
        ("#meta-monitor", "Statistic of the meta-monitor against the price of a retraining, by window", view.monitor.says, statistics),
    ]
    for place, title, says, rows in shown:
        expect(article.locator(place).get_by_role("img")).to_have_attribute("aria-label", f"{title}. {says}")
        article.locator(place).get_by_text("the numbers", exact=True).click()
        lines = article.locator(f"{place} .as-table tbody tr")
        expect(lines).to_have_count(len(rows))
        for line, values in zip(reversed(lines.all()), rows, strict=True):
            cells = [None if cell == "–" else float(cell) for cell in line.locator("td").all_inner_texts()]
            assert cells == [value if value is None else pytest.approx(value, abs=6e-3) for value in values]


def test_one_scope_at_a_time(page: Page, fake: Fake) -> None:
    """Without a scope the first is shown; each has its own address, and what is open, raised or commanded in others is seen beside it."""
    second = samples.records("search", forces=samples.killed("search"))
    article = opened(page, fake, samples.records(), second, path="/loop")
    expect(article.get_by_role("heading", name="Loop of shop")).to_be_visible()
    link = article.get_by_role("navigation", name="Scopes").get_by_role("link", name="search")
    expect(link).to_contain_text("killed")
    link.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{fake.url}/loop/search")
    expect(article.get_by_role("heading", name="Loop of search")).to_be_visible()
    expect(article.locator("#at-a-glance")).to_contain_text("The kill switch is on: nothing is surfaced. search, by emma")
    expect(article.get_by_role("heading", name="Loop of shop")).to_have_count(0)


def test_a_console_without_scopes_says_so(page: Page, fake: Fake) -> None:
    """Before the first decision the view tells what makes a scope appear, and shows it when it does."""
    samples.put(fake)
    page.goto(f"{fake.url}/loop")
    expect(page.locator("article.loop")).to_contain_text("No scope has decided anything yet.")
    expect(page.locator("#connection[data-state=live]")).to_be_visible()
    samples.put(fake, samples.records())
    fake.push("decision", {"id": "1", "scope": "shop"})
    expect(page.get_by_role("heading", name="Loop of shop")).to_be_visible()


def test_a_scope_born_while_the_page_opens_is_seen(page: Page, fake: Fake) -> None:
    """What comes between the reading of no scopes and the start of the stream is not missed."""

    def born(route: Route) -> None:
        if not fake.resumed:
            samples.put(fake, samples.records())
            fake.push("decision", {"id": "1", "scope": "shop"})
        route.continue_()

    samples.put(fake)
    page.route("**/api/v1/events?*", born)
    page.goto(f"{fake.url}/loop")
    expect(page.get_by_role("heading", name="Loop of shop")).to_be_visible()


def test_numbers_follow_the_stream_without_flooding_the_server(page: Page, fake: Fake) -> None:
    """A hundred events at once are a few reads, and afterwards the page shows what the last of them made."""
    article = opened(page, fake)
    expect(page.locator("#connection[data-state=live]")).to_be_visible()
    path = "/scopes/shop"
    asked = fake.gets.count(path)
    fields = samples.records().fields
    samples.put(fake, samples.records(fields={**fields, b"surfaced": b"643", b"overridden": b"58"}))
    for number in range(100):
        fake.push("alignment", {"kind": "trust", "id": str(number), "scope": "shop"})
    expect(article.locator("#overrides-and-budget")).to_contain_text("58 recommendations overridden")
    expect(article.locator("#at-a-glance")).to_contain_text("643 surfaced")
    page.wait_for_timeout(SETTLED_MS)
    assert fake.gets.count(path) - asked <= 5


def test_what_a_person_has_open_and_focused_stays(page: Page, fake: Fake) -> None:
    """News redraw only what they change: an open table stays open with the focus in it, and a source that was chosen stays chosen."""
    article = opened(page, fake)
    expect(page.locator("#connection[data-state=live]")).to_be_visible()
    article.locator("#source").select_option("tickets")
    summary = article.locator("#alignment-loss summary")
    summary.click()
    fields = samples.records().fields
    past = msgspec.json.decode(fields[b"past"])
    samples.put(fake, samples.records(fields={**fields, b"past": msgspec.json.encode({**past, "loss": 0.111})}))
    fake.push("alignment", {"kind": "window", "id": "x", "scope": "shop"})
    expect(article.locator("#at-a-glance")).to_contain_text("0.111")
    expect(article.locator("#alignment-loss details")).to_have_attribute("open", "")
    expect(summary).to_be_focused()
    expect(article.locator("#source")).to_have_value("tickets")


def test_the_kill_switch_works_by_keyboard_alone(page: Page, fake: Fake) -> None:
    """Enter asks, with the focus where one types why; Enter again sends it, once; the page says when it is in force, and is read anew."""
    article = opened(page, fake)
    button = article.get_by_role("button", name="Kill switch")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Kill switch?")
    expect(dialog.get_by_label("Why")).to_be_focused()
    samples.put(fake, samples.records(forces=samples.killed()))
    page.keyboard.type("disk firmware roll-out")
    page.keyboard.press("Enter")
    expect(article.locator("#switches .told")).to_have_text("Kill switch in scope shop is in force, after 42 ms.")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    expect(article.locator("#at-a-glance")).to_contain_text("by emma")
    said = {"command": "kill", "scope": "shop", "subject": "", "reason": "disk firmware roll-out", "operator": "emma"}
    assert fake.posts == [("/control", said)]


def test_a_key_held_down_confirms_nothing(page: Page, fake: Fake) -> None:
    """The key press that opened the question does not answer it, however long it is held; Escape leaves it, and nothing is sent."""
    article = opened(page, fake)
    button = article.get_by_role("button", name="Kill switch")
    button.focus()
    for _ in range(5):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    dialog = page.get_by_role("dialog", name="Kill switch?")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    assert fake.posts == []


@pytest.mark.parametrize(
    ("button", "command"),
    [("Kill switch", "kill"), ("Freeze", "freeze"), ("Shadow", "shadow"), ("Resume", "resume"), ("Reopen budget", "reopen")],
)
def test_every_command_reaches_one_scope_or_all(page: Page, fake: Fake, button: str, command: str) -> None:
    """A command names its scope, or none for every scope, as was chosen in the question."""
    article = opened(page, fake)
    for reach, scope in (("only shop", {"scope": "shop"}), ("every scope", {})):
        article.get_by_role("button", name=button).click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Where").select_option(reach)
        dialog.get_by_label("Why").fill("why not")
        dialog.locator("button[type=submit]").click()
        expect(dialog).to_have_count(0)
        expect(article.locator("#switches .told")).to_contain_text("is in force, after")
        assert fake.posts.pop() == ("/control", {"command": command, "subject": "", "reason": "why not", "operator": "emma"} | scope)


def test_a_command_asks_once_who_gives_it(chromium: Browser, fake: Fake) -> None:
    """Without tokens a command bears the name that answers bear: asked for before the first one, and remembered; none is sent without."""
    context = chromium.new_context()
    page = context.new_page()
    article = opened(page, fake)
    article.get_by_role("button", name="Freeze").click()
    page.get_by_role("dialog", name="Who answers?").press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert fake.posts == []
    article.get_by_role("button", name="Freeze").click()
    page.get_by_label("Name").fill("ana")
    page.keyboard.press("Enter")
    for button in ("Freeze", "Resume"):
        if button == "Resume":
            article.get_by_role("button", name=button).click()
        page.get_by_role("dialog", name=f"{button}?").locator("button[type=submit]").click()
        expect(article.locator("#switches .told")).to_contain_text(f"{button} in scope shop is in force")
    assert [(body["command"], body["operator"]) for _, body in fake.posts] == [("freeze", "ana"), ("resume", "ana")]
    context.close()


def test_with_a_token_a_command_is_the_tokens(page: Page, fake: Fake) -> None:
    """Where the token says who commands, no other name that the browser remembers is sent beside it."""
    fake.me = Me("screen", "admin", "ops", None, tokens=True)
    article = opened(page, fake)
    article.get_by_role("button", name="Freeze").click()
    page.get_by_role("dialog", name="Freeze?").locator("button[type=submit]").click()
    expect(article.locator("#switches .told")).to_contain_text("is in force, after")
    assert "operator" not in fake.posts[-1][1]


def test_reopening_needs_a_reason(page: Page, fake: Fake) -> None:
    """The budget is not reopened without saying why."""
    article = opened(page, fake)
    article.get_by_role("button", name="Reopen budget").click()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert fake.posts == []


@pytest.mark.parametrize("command", ["quarantine", "revoke", "release"])
def test_commands_about_a_source_name_it(page: Page, fake: Fake, command: str) -> None:
    """What is said about a source is about the one chosen; one that was revoked, and counts no more, can still be chosen."""
    forces = samples.killed()
    forces["shop"] = replace(forces["shop"], revoked={"outcome:old": forces["shop"].killed})
    article = opened(page, fake, samples.records(forces=forces))
    article.get_by_label("About the source").select_option("outcome:old" if command == "release" else "mallory")
    article.get_by_role("button", name=command.title()).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("outcome:old" if command == "release" else "mallory")
    dialog.locator("button[type=submit]").click()
    expect(article.locator("#trust-by-source .told")).to_contain_text("is in force, after")
    assert fake.posts[-1][1]["subject"] == ("outcome:old" if command == "release" else "mallory")


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_may_not_command_has_no_buttons(page: Page, fake: Fake, role: str) -> None:
    """For other roles than admin the view tells which role commands need; numbers are shown all the same."""
    fake.me = msgspec.convert({"name": "screen", "role": role, "operator": None, "team": None, "tokens": True}, Me)
    article = opened(page, fake)
    expect(article.locator("#switches")).to_contain_text(f"Commands need the role admin; yours is {role}.")
    expect(article.locator(".commands button")).to_have_count(0)
    expect(article.locator("#alignment-loss").get_by_role("img")).to_be_visible()


def test_a_command_that_fails_is_not_taken_for_sent(page: Page, fake: Fake) -> None:
    """Refused by role, refused by the tasks, not taken in time, or the answer lost: each is said, and none as in force."""
    article = opened(page, fake)
    told = article.locator("#switches .told.problem")
    for answer, words in (
        ((403, {"detail": "screen is viewer"}), "Not sent: screen is viewer"),
        ((200, EFFECT | {"refused": "the scope is unknown", "in_force": False}), "refused. the scope is unknown"),
        ((200, EFFECT | {"in_force": False}), "not every deciding task has taken it yet"),
        ((503, {"detail": "the broker is away"}), "It is not known whether the command was sent: the broker is away"),
    ):
        fake.canned["/control"] = answer
        article.get_by_role("button", name="Freeze").click()
        page.keyboard.press("Enter")
        expect(told).to_contain_text(words)
        expect(told).not_to_contain_text("is in force")


def test_a_reader_that_left_asks_no_more(page: Page, fake: Fake) -> None:
    """After the view is left, its stream and timers are gone: news of its scope read nothing."""
    opened(page, fake)
    expect(page.locator("#connection[data-state=live]")).to_be_visible()
    with page.expect_event("requestfailed", lambda request: "/api/v1/events" in request.url):
        page.get_by_role("link", name="Queue", exact=True).click()
    expect(page).to_have_url(f"{fake.url}/queue")
    asked = fake.gets.count("/scopes/shop")
    fake.push("alignment", {"kind": "window", "id": "x", "scope": "shop"})
    page.wait_for_timeout(SETTLED_MS)
    assert fake.gets.count("/scopes/shop") == asked


def test_a_read_model_that_is_away_is_said_and_tried_again(page: Page, fake: Fake) -> None:
    """Where the console cannot read, the view says what it says, and shows the scope by itself once it can."""
    fake.canned["/scopes"] = (503, {"detail": "the read model is away"})
    page.goto(f"{fake.url}/loop/shop")
    expect(page.get_by_role("alert")).to_contain_text("the read model is away")
    samples.put(fake, samples.records())
    expect(page.get_by_role("heading", name="Loop of shop")).to_be_visible()


def test_names_are_text(page: Page, fake: Fake) -> None:
    """Scopes, sources and reasons are shown as letters, whatever they hold."""
    held = samples.records(
        HOSTILE, forces={HOSTILE: replace(samples.killed()["shop"], quarantined={HOSTILE: samples.killed()["shop"].killed})}
    )
    article = opened(page, fake, held, path="/loop")
    expect(article.get_by_role("heading", level=1)).to_have_text(f"Loop of {HOSTILE}")
    assert article.locator("img").count() == 0
