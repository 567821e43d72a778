"""What browser tests share: the system's Chromium, a fake console of each test's own, and pages that fail on what the console reports."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect, sync_playwright

from tests.console.browser.fake import Fake, card

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
# What Chromium says of answers that a test asked for.
WAIT_MS = 30_000  # for what must come; the machine may be busy
EXPECTED = ("Failed to load resource", "net::ERR_")


# Of a module, not of the session: while Playwright runs, its thread has a running event loop, and tests elsewhere start their own.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, without a window; skips where there is none."""
    path = os.environ.get("NPO_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on the path: install it (Debian: apt install chromium), or name it in NPO_CHROMIUM")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def fake() -> Iterator[Fake]:
    """A fake console with eight cards, the second of them of four hosts."""
    made = Fake([card(number, members=4 if number == 2 else 1) for number in range(1, 9)])
    made.start()
    yield made
    made.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser of its own that has a name to answer under: emma."""
    made = chromium.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    made.add_init_script("localStorage.getItem('npo.operator') ?? localStorage.setItem('npo.operator', 'emma')")
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page; an error in its console fails the test."""
    made = context.new_page()
    made.set_default_timeout(WAIT_MS)
    faults = watch(made)
    yield made
    assert not faults


@pytest.fixture
def opened(page: Page, fake: Fake) -> Page:
    """The queue, with its eight cards."""
    page.goto(f"{fake.url}/queue")
    expect(page.locator(".card")).to_have_count(len(fake.cards))
    expect(page.locator("#connection")).to_have_text("live")
    return page


def card_of(page: Page, number: int) -> Locator:
    """Return the card of this number."""
    return page.locator(f'.card[data-id="{number:016x}"]')


def said(page: Page, number: int) -> Locator:
    """Return what a card says became of our answer."""
    return card_of(page, number).locator(".became")


def sent(fake: Fake) -> list[tuple[int, str, int]]:
    """Return the answers on the log: card, kind, revision."""
    return [(int(each["decision"], 16), each["kind"], each["revision"]) for each in fake.log]


def watch(page: Page) -> list[str]:
    """Return the list to which the page's errors are added."""
    faults: list[str] = []

    def told(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(words in message.text for words in EXPECTED):
            faults.append(message.text)

    page.on("console", told)
    page.on("pageerror", lambda error: faults.append(str(error)))
    return faults
