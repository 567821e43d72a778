"""The Why view: everything that `npo why` tells of a decision is on the page, at an address that lasts."""

import msgspec
import pytest
from msgspec.structs import replace
from playwright.sync_api import Locator, Page, expect

from schemas.events import Reason
from streams.explaining import Explanation
from tests.console.browser import samples
from tests.console.browser.fake import Fake

HOSTILE = '<img src=x onerror="document.title=1">\u202e'


def opened(page: Page, fake: Fake, told: Explanation) -> Locator:
    """Open the view of a decision that the console knows, and wait until it is read."""
    samples.put_decision(fake, told)
    page.goto(f"{fake.url}/why/{told.decision}")
    article = page.locator("article.why[aria-busy=false]")
    expect(article).to_be_visible()
    return article


@pytest.mark.parametrize("reason", list(Reason))
def test_every_sentence_of_the_explanation_is_on_the_page(page: Page, fake: Fake, reason: Reason) -> None:
    """Whatever became of a decision, its explanation's sentences, numbers, rules and facts are on the page."""
    told = samples.explanation(reason)
    article = opened(page, fake, told)
    for sentence in (
        told.happened, told.why, told.status_says, told.action_says, told.history_says, told.draw_says, told.budget_says, told.model_says,
        told.came_of_it, told.decision, told.scenario_class, f"{told.threshold:.4f}", f"{told.propensity:.4f}", f"{told.score.total:+.3f}",
        *(moment.says for moment in told.life), *told.verdict.rules, *told.versions.values(), *(source.source for source in told.sources),
    ):  # fmt: skip
        expect(article).to_contain_text(sentence)
    article.get_by_text("that it was judged over").click()
    for fact in told.verdict.facts:
        expect(article.locator("#safety-policy tbody th", has_text=fact).first).to_be_visible()
    for topic, position in told.positions.items():
        expect(article.locator("#made-under")).to_contain_text(f"{topic} {position}")


def test_each_feature_stands_once_with_its_class_mean(page: Page, fake: Fake) -> None:
    """A row adds what a feature and its class's mean contribute, the rows and the offset add up, and the rest is listed apart."""
    told = samples.explanation()
    article = opened(page, fake, told)
    rows = article.locator(".contributions tbody tr")
    cells = [row.locator("th, td").all_inner_texts() for row in rows.all()]
    logits = {cell[0].splitlines()[0]: float(cell[1].replace("−", "-")) for cell in cells}
    added = samples.CONTRIBUTIONS["log_score"] + samples.CONTRIBUTIONS["class:log_score"]
    assert logits["log_score"] == pytest.approx(added, abs=1e-3)
    assert not any(name.startswith("class:") for name in logits)
    *parts, total = logits.values()
    assert sum(parts) == pytest.approx(total, abs=5e-3)
    rest = article.locator("details[data-name=unweighted]")
    rest.locator("summary").click()
    expect(rest).to_contain_text("recent_deploy 0")


def test_bars_are_as_long_as_their_numbers(page: Page, fake: Fake) -> None:
    """A bar begins at zero, goes to the side of its sign, and its length is to the longest as its number is."""
    told = samples.explanation()
    article = opened(page, fake, told)
    measured = []
    for row in article.locator(".contributions tbody tr").all()[:-1]:
        number = float(row.locator("td").first.inner_text().replace("−", "-"))
        whole, fill = row.locator(".bar").bounding_box(), row.locator(".fill").bounding_box()
        assert whole is not None
        assert fill is not None
        middle = whole["x"] + whole["width"] / 2
        zero = fill["x"] if number > 0 else fill["x"] + fill["width"]
        assert zero == pytest.approx(middle, abs=1)
        measured.append((abs(number), fill["width"]))
    longest = max(measured)
    for number, width in measured:
        assert width / longest[1] == pytest.approx(number / longest[0], abs=0.02)


def test_the_score_mean_is_told_as_such(page: Page, fake: Fake) -> None:
    """Where the score is a class's mean, the page says that features are not in it, and adds nothing up."""
    told = samples.explanation()
    article = opened(page, fake, replace(told, score=replace(told.score, kind="mean")))
    expect(article.locator("#features-and-what-they-added")).to_contain_text("one minus the running mean")
    expect(article.locator(".contributions")).not_to_contain_text("together")


def test_the_chart_says_what_it_shows(page: Page, fake: Fake) -> None:
    """Each blamed metric has a picture whose name tells span, extremes, last and usual value, and when the symptom began."""
    told = samples.explanation()
    article = opened(page, fake, told)
    pictures = article.get_by_role("img")
    expect(pictures).to_have_count(len(told.symptoms))
    for symptom, picture in zip(told.symptoms, pictures.all(), strict=True):
        name = picture.get_attribute("aria-label") or ""
        assert name.startswith(f"{symptom.metric} from 00:00 to 01:59 UTC: between")
        assert f"usually {symptom.usual:g}" in name
        assert "symptom since 01:36" in name


def test_a_moment_that_is_gone_leaves_the_rest(page: Page, fake: Fake) -> None:
    """Without the scenario the chart's place says so, and everything else is there."""
    told = samples.explanation()
    samples.put_decision(fake, told)
    fake.canned[f"/decisions/{told.decision}/moment"] = (404, {"detail": "its scenario is no longer held"})
    page.goto(f"{fake.url}/why/{told.decision}")
    expect(page.locator("figure.moment")).to_contain_text("No telemetry of this moment is held any more.")
    expect(page.locator("article.why")).to_contain_text(told.came_of_it)


def test_an_unknown_decision_is_said_to_be_unknown(page: Page, fake: Fake) -> None:
    """An address of no decision shows what was asked for and a way on."""
    fake.canned["/decisions/nope/why"] = (404, {"detail": "no decision begins with 'nope'"})
    page.goto(f"{fake.url}/why/nope")
    expect(page.get_by_role("alert")).to_contain_text("nope")
    page.get_by_role("link", name="To the queue", exact=True).click()
    expect(page).to_have_url(f"{fake.url}/queue")


def test_the_address_lasts(page: Page, fake: Fake) -> None:
    """The link that the view shows is its own address: followed, loaded anew, or gone back to, it shows the same."""
    told = samples.explanation()
    samples.put(fake, samples.records("shop"))
    article = opened(page, fake, told)
    # The charts come on their own.
    expect(page.locator("figure.moment")).to_contain_text("symptom since")
    before = article.inner_text()
    article.get_by_role("link", name=told.decision).click()
    expect(page).to_have_url(f"{fake.url}/why/{told.decision}")
    page.reload()
    expect(article).to_have_text(before, use_inner_text=True)
    article.get_by_role("link", name=told.scope, exact=True).click()
    expect(page.get_by_role("heading", name="Loop of shop")).to_be_visible()
    page.go_back()
    expect(article).to_have_text(before, use_inner_text=True)


def test_news_of_the_decision_are_shown_and_others_cost_nothing(page: Page, fake: Fake) -> None:
    """A recommendation's next moment is read anew, what is open stays open; a burst of others' news asks the server for nothing."""
    told = samples.explanation()
    article = opened(page, fake, told)
    path = f"/decisions/{told.decision}/why"
    expect(page.locator("#connection[data-state=live]")).to_be_visible()
    article.get_by_text("that it was judged over").click()
    asked = fake.gets.count(path)
    for number in range(1, 9):
        fake.push("recommendation", fake.moment_of(f"{number:016x}"))
    page.wait_for_timeout(1_000)
    assert fake.gets.count(path) == asked
    fake.canned[path] = (200, msgspec.to_builtins(replace(told, came_of_it="It was answered once more.")))
    fake.push("recommendation", {"id": told.decision, "scope": told.scope})
    expect(article).to_contain_text("It was answered once more.")
    assert fake.gets.count(path) == asked + 1
    expect(article.locator("details[data-name=facts]")).to_have_attribute("open", "")


def test_an_explanation_stays_while_it_cannot_be_read_anew(page: Page, fake: Fake) -> None:
    """A passing problem takes nothing away: the page says why it may be old, and reads again by itself."""
    told = samples.explanation()
    article = opened(page, fake, told)
    expect(page.locator("#connection[data-state=live]")).to_be_visible()
    path = f"/decisions/{told.decision}/why"
    fake.canned[path] = (503, {"kind": "read_model_away", "detail": "Redis does not answer"})
    fake.push("recommendation", {"id": told.decision, "scope": told.scope})
    expect(page.locator("#banner")).to_contain_text("What you see may be old. Redis does not answer.")
    expect(article).to_contain_text(told.came_of_it)
    fake.canned[path] = (200, msgspec.to_builtins(replace(told, came_of_it="It was answered once more.")))
    expect(article).to_contain_text("It was answered once more.")
    expect(page.locator("#banner")).to_be_hidden()


def test_names_are_text(page: Page, fake: Fake) -> None:
    """Whatever names, notes and reasons hold is shown as letters: it is never markup."""
    told = samples.explanation()
    title = "restart-service"
    hostile = replace(told, entity=HOSTILE, scope=HOSTILE, why=HOSTILE, versions={HOSTILE: HOSTILE}, model=HOSTILE, scenario_class=HOSTILE)
    article = opened(page, fake, replace(hostile, score=replace(told.score, unweighted={HOSTILE: 1.0})))
    expect(article).to_contain_text(HOSTILE)
    expect(article.get_by_role("heading", name=title)).to_be_visible()
    assert article.locator("img").count() == 0
