"""The pages on disk in a real browser: what a person can do, at a desk and on a telephone."""

from __future__ import annotations

import re

import pytest
from conftest import CHROMIUM, REPORT

from ov_emotions.dialogues import Dialogue, Utterance, analyse, page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
playwright = pytest.importorskip("playwright.sync_api")

SAID = (
    "добрый день",
    "здравствуйте где мой заказ",
    "сейчас посмотрю",
    "сколько можно ждать это безобразие",
    "приношу извинения",
    "меня бесит ваше враньё ненавижу вас всех",
    "понимаю вас",
    "верните деньги наглые хамы",
)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def dialogues(tmp_path_factory):
    from ov_emotions import EmotionClassifier

    found = []
    for number in range(30):
        said = SAID if number % 3 == 0 else SAID[:3] + SAID[:3]
        utterances = [
            Utterance("Клиент" if i % 2 else "Оператор", text, 7.0 * i)
            for i, text in enumerate(said)
        ]
        found.append(Dialogue(f"звонок-{number:02d}", tuple(utterances)))
    with EmotionClassifier("emotions-ru-tiny") as classifier:
        markup = page(analyse(found, classifier), "ru")
    path = tmp_path_factory.mktemp("pages") / "dialogues.html"
    path.write_text(markup, encoding="utf-8")
    return path


def _open(browser, path, width=1280, **context):
    opened = browser.new_context(viewport={"width": width, "height": 900}, **context).new_page()
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: asked.append(str(error)))
    opened.goto(path.as_uri())
    assert all(url.startswith(("file:", "data:")) for url in asked), asked
    return opened


def _seen(opened, selector):
    script = "all => all.filter(one => one.offsetHeight > 0).map(one => one.id)"
    return opened.eval_on_selector_all(selector, script)


def test_one_dialogue_opens_at_a_time_and_a_point_of_its_curve_is_read(browser, dialogues):
    opened = _open(browser, dialogues)
    assert _seen(opened, ".dialogue") == []
    opened.click(".cards a >> nth=1")
    assert _seen(opened, ".dialogue") == ["dialogue-2"]
    opened.click("#dialogues tbody a >> nth=3")
    assert _seen(opened, ".dialogue") == ["dialogue-4"]
    box = opened.locator(".dialogue:target svg.plot").first.bounding_box()
    opened.mouse.move(box["x"] + box["width"] * 0.95, box["y"] + box["height"] / 2)
    assert "верните деньги наглые хамы" in opened.inner_text(".tip")
    on = opened.locator(".dialogue:target .talk li.on")
    assert "верните деньги" in on.inner_text()
    slider = opened.locator(".dialogue:target [role=slider]")
    slider.press("ArrowLeft")
    assert "понимаю вас" in slider.get_attribute("aria-valuetext")


def test_the_table_searches_and_sorts(browser, dialogues):
    opened = _open(browser, dialogues)
    rows = opened.locator("#dialogues tbody tr:visible")
    assert rows.count() == 30
    opened.fill("input[type=search]", "звонок-07")
    assert rows.count() == 1
    assert opened.inner_text("#found") == "1 / 30"
    opened.fill("input[type=search]", "")
    opened.click("#dialogues thead button >> nth=0")
    assert rows.first.inner_text().startswith("звонок-00")


@pytest.mark.parametrize("width", [360, 820, 1440])
def test_no_page_is_wider_than_the_screen_and_chips_stand_beside_the_words(
    browser, dialogues, width
):
    for path in (dialogues, REPORT / "report.html"):
        opened = _open(browser, path, width)
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
    opened = _open(browser, dialogues, width)
    opened.goto(f"{dialogues.as_uri()}#dialogue-1")
    overlaps = opened.evaluate(
        """() => [...document.querySelectorAll("#dialogue-1 .talk li")].filter((item) =>
          item.querySelector(".chips").getBoundingClientRect().bottom
          > item.querySelector("p").getBoundingClientRect().top + 1).length"""
    )
    assert overlaps == 0


def test_a_mark_of_a_report_says_what_it_is(browser):
    opened = _open(browser, REPORT / "report.html", reduced_motion="reduce")
    mark = opened.locator("#trade .wide path[aria-label^='int8-']").first
    mark.scroll_into_view_if_needed()
    opened.wait_for_timeout(200)  # scrolling hides what is told
    box = mark.bounding_box()
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert re.match(r"int8-[\w-]+/\w+, ", opened.inner_text(".tip"))


def test_a_report_prints_to_two_pages(browser):
    opened = _open(browser, REPORT / "report.html")
    printed = opened.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page[^s]", printed)) <= 2
