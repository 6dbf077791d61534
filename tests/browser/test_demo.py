"""What a person sees of `ov-emotions demo`, in Chromium."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest

if TYPE_CHECKING:
    from conftest import Demo

VIEWS = ("text", "files", "dialogues", "compare", "model")
GLAD = "ну наконец то доехали я так рада вас всех видеть"
AFRAID = "мне так страшно идти туда одной вечером"

Open = Callable[..., Any]


def write(page: Any, text: str) -> None:
    page.get_by_role("textbox", name=re.compile("^(Текст|Text)")).first.fill(text)


def shown_bars(page: Any) -> dict[str, tuple[float, str]]:
    """Width of each bar in per cent as it is drawn, and what stands beside it."""
    rows = page.evaluate(
        """() => [...document.querySelectorAll('#result .bar')].map(bar => [
            bar.querySelector('.bar-name').innerText,
            100 * bar.querySelector('.fill').getBoundingClientRect().width
                / bar.querySelector('.track').getBoundingClientRect().width,
            bar.innerText.replaceAll('\\n', ' ')])"""
    )
    return {name: (width, text) for name, width, text in rows}


def upload(page: Any, view: str, file: Path) -> None:
    """Give the page a file, once more if it had not begun to listen yet."""
    from playwright.sync_api import TimeoutError as NothingSent

    place = page.locator(f"#view-{view} input[type=file]")
    for last in (False, False, True):
        try:
            with page.expect_request(lambda request: "/upload" in request.url, timeout=5000):
                place.set_input_files(file)
            return
        except NothingSent:
            if last:
                raise


def settle(page: Any) -> None:
    """Wait until nothing moves."""
    page.wait_for_function(
        "() => document.documentElement.dataset.waiting === undefined"
        " && document.getAnimations().every(one => one.playState !== 'running')"
    )


def test_typing_changes_the_bars_and_names_the_words_that_moved_them(open_page: Open) -> None:
    page = open_page()
    assert page.get_by_text("Здесь появятся эмоции").is_visible()
    write(page, GLAD)
    page.locator("#result .verdict", has_text="радость").wait_for()
    settle(page)
    glad = shown_bars(page)
    width, beside = glad["радость"]
    assert width > 60
    assert re.search(r"(\d+)\s%.*порог\s+\d+\s%", beside)
    assert abs(int(re.search(r"(\d+)\s%", beside)[1]) - width) < 1.5
    assert next(iter(glad)) == "радость"
    assert page.locator(".cut").count() == len(glad) == 7
    marked = page.locator(".words:visible .word.for", has_text="рада")
    assert "+" in marked.inner_text()
    movers = page.locator(".movers:visible").inner_text()
    assert re.search(r"За: .*«рада» \+\d,\d", movers)
    page.locator("#announcer", has_text="радость").wait_for(state="attached")

    write(page, AFRAID)
    page.locator("#result .verdict", has_text="страх").wait_for()
    settle(page)
    assert shown_bars(page)["страх"][0] > 50
    assert shown_bars(page)["радость"][0] < 20

    page.get_by_role("button", name=re.compile("^радость")).click()
    assert page.get_by_role("heading", name="Слова, которые повлияли на «радость»").is_visible()
    assert page.locator(".words:visible").count() == 1

    write(page, "")
    page.get_by_text("Здесь появятся эмоции").wait_for()


def test_an_example_is_one_click_and_what_looks_like_a_template_stays_text(open_page: Open) -> None:
    page = open_page(language="en")
    page.get_by_role("button", name=re.compile("мне так страшно")).click()
    page.locator("#result .verdict", has_text="fear").wait_for()
    odd = "${1+1} {{value}} `ужас` <b>страх</b> &amp;"
    write(page, odd)
    page.locator(".quote:visible", has_text="${1+1}").wait_for()
    quote = re.sub(r"[+−]+(?=\s|$)", "", page.locator(".quote:visible").inner_text())
    assert quote.split() == odd.split()
    write(page, "?!..")
    page.get_by_text("There is nothing to read here").wait_for()


def test_a_workbook_comes_back_with_columns_added_in_the_pages_language(
    open_page: Open, tmp_path: Path
) -> None:
    book = openpyxl.Workbook()
    for row in (["Дата", "Текст"], ["1 мая", GLAD], ["2 мая", None], ["3 мая", AFRAID]):
        book.active.append(row)
    book.save(tmp_path / "звонки.xlsx")
    page = open_page("files")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Выбрать файл").locator("visible=true").click()
    chooser.value.set_files(tmp_path / "звонки.xlsx")
    page.get_by_text("Разобрано строк: 2").first.wait_for()
    assert page.locator(".left-out li").inner_text().split() == ["Строка", "2:", "текста", "нет"]
    rows = [row.split("\t") for row in page.locator(".rows tbody").inner_text().splitlines()]
    assert [(row[0], row[1]) for row in rows] == [("1", GLAD), ("3", AFRAID)]
    page.locator("#announcer", has_text="Разобрано строк: 2").wait_for(state="attached")

    for language, name, columns in (
        ("Русский", "Скачать Excel", ("Дата", "Текст", "эмоции")),
        ("English", "Download Excel", ("Дата", "Текст", "labels")),
    ):
        page.get_by_role("button", name=language).click()
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        download.value.save_as(tmp_path / "back.xlsx")
        found = list(openpyxl.load_workbook(tmp_path / "back.xlsx").active.values)
        assert found[0][:3] == columns
        assert [row[:2] for row in found[1:]] == [
            ("1 мая", GLAD), ("2 мая", None), ("3 мая", AFRAID)
        ]  # fmt: skip
    assert found[1][2] == "joy"
    assert download.value.suggested_filename == "звонки.emotions.xlsx"


def test_a_file_of_other_columns_is_asked_about_and_one_of_no_use_is_explained(
    open_page: Open, tmp_path: Path
) -> None:
    page = open_page("files", language="en")
    odd = tmp_path / "calls.jsonl"
    odd.write_text(json.dumps({"who": "клиент", "utterance": GLAD}) + "\n", "utf-8")
    upload(page, "files", odd)
    page.get_by_role("button", name="utterance").click()
    page.get_by_text("Rows classified: 1").first.wait_for()
    assert page.locator(".rows tbody").inner_text().split("\t")[1] == GLAD

    wrong = tmp_path / "picture.png"
    wrong.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    upload(page, "files", wrong)
    failure = page.get_by_role("alert").filter(has_text="The file cannot be read")
    failure.wait_for()
    assert "picture.png is of no known format" in failure.inner_text()
    assert "/tmp" not in failure.inner_text()  # where it lies is nobody's business
    page.get_by_role("button", name="Русский").click()
    assert "такой формат не читается" in failure.inner_text()


def test_a_long_file_shows_progress_and_can_be_stopped(open_page: Open, tmp_path: Path) -> None:
    page = open_page("files")
    long = tmp_path / "long.txt"
    long.write_text("\n".join(f"{GLAD} {i}" for i in range(60_000)), "utf-8")
    upload(page, "files", long)
    bar = page.get_by_role("progressbar", name="Ход разбора")
    bar.wait_for()
    assert bar.get_attribute("aria-valuemax") == "60000"
    page.get_by_text(re.compile(r"Разобрано [1-9][\d\s]* из 60\s000")).wait_for()
    page.get_by_role("button", name="Остановить").click()
    page.get_by_text("Здесь появится таблица").wait_for()
    page.locator("#lines textarea").fill(f"{GLAD}\n{AFRAID}")
    page.get_by_role("button", name="Разобрать строки").click()
    page.get_by_text("Разобрано строк: 2").first.wait_for()
    assert not page.get_by_role("button", name="Остановить").is_visible()


def test_a_dialogue_shows_when_to_hand_over_and_what_was_said(
    open_page: Open, tmp_path: Path
) -> None:
    page = open_page("dialogues")
    page.get_by_role("button", name="Показать на примере").click()
    page.get_by_role("button", name="Разобрать диалог").click()
    told = page.locator(".told:visible")
    told.wait_for()
    assert "Передать другому оператору" in told.inner_text()
    assert re.search(r"0,\d\d", told.inner_text())
    plot = page.locator(".course-box svg:visible")
    assert plot.bounding_box()["width"] > 350
    said = page.locator(".talk:visible")
    assert "отвратительная контора" in said.inner_text()
    assert "гнев" in said.inner_text()
    over = page.evaluate(
        """() => [...document.querySelectorAll('.one-language[lang=ru] .talk li')].filter(one => {
            const words = one.querySelector('p').getBoundingClientRect();
            return [...one.querySelectorAll('.chip')].some(chip => {
                const box = chip.getBoundingClientRect();
                return box.bottom > words.top + 2 && box.top < words.bottom; }); }).length"""
    )
    assert over == 0, "emotions lie over the words"
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2)
    assert len(page.locator(".tip").inner_text()) > 20
    assert page.locator(".talk:visible li.on").count() == 1
    with page.expect_download() as download:
        page.get_by_role("link", name="Страница с кривыми").click()
    download.value.save_as(tmp_path / "page.html")
    assert "отвратительная контора" in (tmp_path / "page.html").read_text("utf-8")

    page.get_by_role("button", name="English").click()
    assert "Hand over" in page.locator(".told:visible").inner_text()
    page.locator("#transcript textarea").fill("просто слова без говорящих")
    page.get_by_role("button", name="Analyse the dialogue").click()
    page.get_by_text("There is no dialogue").wait_for()


def test_many_dialogues_open_one_at_a_time_and_a_click_tells_the_client(
    open_page: Open, tmp_path: Path
) -> None:
    calls = tmp_path / "calls.csv"
    calls.write_text(
        "dialogue,speaker,text\n"
        + "".join(
            f"звонок {i},Анна,{'спасибо вам большое' if i % 2 else 'как же вы надоели'}\n"
            f"звонок {i},Пётр,понимаю\n"
            for i in range(40)
        ),
        "utf-8",
    )
    page = open_page("dialogues")
    upload(page, "dialogues", calls)
    page.get_by_text("Кто здесь клиент? Диалогов, где это неясно: 40").wait_for()
    choice = page.get_by_role("listitem").filter(has_text="Анна", has=page.locator("[data-role]"))
    choice.get_by_role("button", name="клиент").click()
    page.locator(".dialogues:not(:has(.who))").wait_for()
    assert page.locator(".cards:visible li").count() == 5
    assert page.locator(".dialogue:visible").count() == 0
    page.get_by_role("searchbox").locator("visible=true").fill("звонок 17")
    rows = page.locator(".sortable:visible").first.locator("tbody tr:visible")
    assert rows.count() == 1
    rows.get_by_role("link").click()
    page.get_by_role("heading", name="звонок 17").wait_for()
    assert page.locator(".dialogue:visible").count() == 1
    assert "спасибо вам большое" in page.locator(".dialogue:visible .talk").inner_text()
    assert page.evaluate("document.documentElement.scrollHeight") < 6000
    page.get_by_role("button", name="English").click()
    page.locator(".dialogue:visible", has_text="The speakers in numbers").wait_for()


def test_two_models_stand_side_by_side_with_their_times(open_page: Open) -> None:
    page = open_page("compare", language="en")
    page.locator("#compared textarea").fill(GLAD)
    page.get_by_label("Second model").select_option("emotions-ru-small · INT8")
    page.get_by_role("button", name="Compare").click()
    sides = page.locator(".side")
    sides.nth(1).wait_for()
    names = ["emotions-ru-tiny · INT8", "emotions-ru-small · INT8"]
    for side, name in zip(sides.all(), names, strict=True):
        assert side.get_by_role("heading", name=name).is_visible()
        latency = side.locator(".latency").inner_text()
        median, low, high = map(float, re.findall(r"\d+\.\d+", latency))
        assert 0 < low <= median <= high
        assert "joy" in side.locator(".verdict").inner_text()
    assert page.get_by_text(re.compile(r"medians .* of \d+ calls")).is_visible()
    names = [side.locator(".bar-name").all_inner_texts() for side in sides.all()]
    assert names[0] == names[1]
    assert "export" not in page.locator("#view-compare").inner_text()


def test_a_model_that_fails_is_said_in_the_readers_language(open_page: Open) -> None:
    page = open_page("compare")
    page.locator("#compared textarea").fill(GLAD)
    page.get_by_label("Вторая модель").select_option("emotions-ru-tiny · INT8 (2)")
    page.get_by_role("button", name="Сравнить").click()
    failure = page.get_by_role("alert").filter(has_text="Модель не справилась")
    failure.wait_for()
    assert "Попробуйте ещё раз" in failure.inner_text()
    failure.get_by_text("Подробности", exact=True).click()
    assert "weights" in failure.inner_text()
    page.get_by_role("button", name="English").click()
    assert "The model failed" in failure.inner_text()
    assert "Модель не справилась" not in failure.inner_text()


def test_the_switch_of_language_changes_every_word_and_is_remembered(open_page: Open) -> None:
    page = open_page(language="ru")
    assert page.get_by_role("heading", name="Что слышно в этих словах?").is_visible()
    write(page, GLAD)
    page.locator("#result .verdict").wait_for()
    page.get_by_role("button", name="English").click()
    assert page.evaluate("document.documentElement.lang") == "en"
    page.wait_for_function("document.title.startsWith('Text')")
    # All but what is Russian by nature: utterances, and the name of the other language.
    visible = """() => { const copy = [];
        const walk = (node) => {
            if (node.nodeType === 3) { copy.push(node.textContent); return; }
            if (node.nodeType !== 1) return;
            const style = getComputedStyle(node);
            if (style.display === 'none' || style.visibility === 'hidden' || node.hidden) return;
            if (node.matches('textarea, style, .said, .quote, .movers, [data-set-language]'))
                return;
            node.childNodes.forEach(walk); };
        walk(document.querySelector('gradio-app')); return copy.join(' '); }"""
    for view in VIEWS:
        page.get_by_role("link", name=re.compile(f"^{view}$", re.IGNORECASE)).first.click()
        page.locator(f"#view-{view} h1").wait_for()
        assert not re.search("[а-яё]", page.evaluate(visible), re.IGNORECASE), view
    again = open_page(context=page.context)
    assert again.get_by_role("heading", name="What do these words carry?").is_visible()
    again.get_by_role("button", name="English", pressed=True).wait_for()


def luminance(colour: str) -> float:
    parts = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(page: Any, selector: str, behind: str = "body") -> float:
    pair = page.evaluate(
        """([front, back]) => [getComputedStyle(document.querySelector(front)).color,
            getComputedStyle(document.querySelector(back)).backgroundColor]""",
        [selector, behind],
    )
    low, high = sorted(map(luminance, pair))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_follows_the_system_until_it_is_switched_and_can_be_read(
    open_page: Open, system: str
) -> None:
    page = open_page(theme=system)

    def is_dark() -> bool:
        return luminance(background(page)) < 0.2

    assert is_dark() == (system == "dark")
    write(page, GLAD)
    page.locator("#result .verdict").wait_for()
    for text in ("h1", ".lead", ".eyebrow", ".bar-note", ".bar:not(.found) .bar-name", ".example"):
        assert contrast(page, text) >= 4.5, text
    for large in [f'[data-emotion="{name}"] .fill' for name in ("joy", "anger", "neutral")]:
        page.evaluate(
            "s => { const e = document.querySelector(s); e.style.color = 'var(--hue)'; }", large
        )
        assert contrast(page, large) >= 3, large
    name = {"light": "Тёмная тема", "dark": "Светлая тема"}[system]
    page.get_by_role("button", name=name).click()
    assert is_dark() == (system != "dark")
    again = open_page(context=page.context)
    assert (luminance(background(again)) < 0.2) == (system != "dark")


def background(page: Any) -> str:
    colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour


def test_a_server_that_is_gone_is_said_with_what_to_do_and_nothing_is_lost(
    open_page: Open, demos: tuple[Demo, Demo]
) -> None:
    doomed = demos[1]
    page = open_page(at=doomed.url)
    write(page, GLAD)
    page.locator("#result .verdict", has_text="радость").wait_for()
    doomed.kill()
    write(page, AFRAID)
    message = page.get_by_role("alert").filter(has_text="Сервер не отвечает")
    message.wait_for()
    assert "ov-emotions demo" in message.inner_text()
    assert page.locator("#text textarea").input_value() == AFRAID
    page.get_by_role("button", name="English").click()
    assert page.get_by_role("alert").filter(has_text="The server does not answer").is_visible()
    assert page.get_by_role("button", name="Check now").is_visible()


def test_a_slow_answer_is_shown_as_one_that_is_under_way(open_page: Open) -> None:
    page = open_page()
    write(page, GLAD)
    page.locator("#result .verdict", has_text="радость").wait_for()
    held: list[Any] = []
    page.route("**/run/predict*", lambda route: held.append(route))
    write(page, AFRAID)
    page.wait_for_function(
        """() => document.querySelector('#result').getAnimations({subtree: true})
            .some(one => one.animationName === 'wait' && one.currentTime > 400)"""
    )
    held[0].continue_()
    page.locator("#result .verdict", has_text="страх").wait_for()
    settle(page)


def test_a_telephone_shows_everything_within_its_width(open_page: Open) -> None:
    page = open_page(width=360, theme="dark")
    write(page, GLAD)
    page.locator("#result .verdict").wait_for()
    settle(page)
    too_wide = """() => [...document.querySelectorAll('gradio-app *')].filter(node => {
        const box = node.getBoundingClientRect();
        return box.width > 1 && (box.right > 360.5 || box.left < -0.5)
            && getComputedStyle(node).visibility !== 'hidden'
            && !node.closest('.scroll, .command, .skip, .unseen');
    }).map(node => node.outerHTML.slice(0, 120))"""
    for view in VIEWS:
        page.goto(f"{page.url.split('#')[0]}#{view}")
        page.locator(f"#view-{view} h1").wait_for()
        if view == "dialogues":
            page.get_by_role("button", name="Показать на примере").click()
            page.get_by_role("button", name="Разобрать диалог").click()
            page.locator(".told:visible").wait_for()
        assert page.evaluate(too_wide) == [], view
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_keyboard_alone_reaches_everything_and_shows_where_it_is(open_page: Open) -> None:
    page = open_page()

    def focused() -> str:
        assert page.evaluate(
            """() => { const style = getComputedStyle(document.activeElement);
                return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1; }"""
        ), "where the focus is cannot be seen"
        text: str = page.evaluate(
            "document.activeElement.innerText || document.activeElement.tagName"
        )
        return " ".join(text.split())

    reached = []
    while not reached or reached[-1] != "TEXTAREA":
        page.keyboard.press("Tab")
        reached.append(focused())
        assert len(reached) < 20, reached
    assert reached[0] == "К содержанию"
    assert reached[2:7] == ["Текст", "Файлы", "Диалоги", "Сравнение", "Модель"]
    page.keyboard.type(GLAD)
    page.locator("#result .verdict", has_text="радость").wait_for()
    while "гнев" not in reached[-1]:
        page.keyboard.press("Tab")
        reached.append(focused())
        assert len(reached) < 40, reached
    page.keyboard.press("Enter")
    assert page.get_by_role("heading", name="Слова, которые повлияли на «гнев»").is_visible()
    while "Файлы" not in reached[-1]:
        page.keyboard.press("Shift+Tab")
        reached.append(focused())
        assert len(reached) < 80, reached
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Сразу много текстов").wait_for()
    assert not page.get_by_role("heading", name="Что слышно в этих словах?").is_visible()


def test_the_model_has_a_card_and_leads_to_the_quantization_report(open_page: Open) -> None:
    page = open_page("model", language="en")
    assert page.get_by_text("emotions-ru-tiny", exact=True).is_visible()
    assert page.evaluate("[...document.fonts].some(one => /Golos/.test(one.family))")
    assert page.get_by_role("row", name=re.compile("test_goemotions")).is_visible()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Open the report").click()
    assert opened.value.get_by_role("heading", level=1).inner_text().startswith("Ship")


@pytest.mark.parametrize(
    ("status", "kind"), [(502, "text/html"), (404, "text/plain"), (200, "text/html")]
)
def test_an_answer_is_marked_as_old_when_the_next_one_does_not_come(
    open_page: Open, status: int, kind: str
) -> None:
    page = open_page()
    write(page, GLAD)
    page.locator("#result .verdict", has_text="радость").wait_for()
    old = page.get_by_text("Ответ относится к прежнему тексту").locator("visible=true")
    assert old.count() == 0
    page.route("**/run/predict*", lambda r: r.fulfill(status=status, content_type=kind, body="x"))
    write(page, AFRAID)
    old.wait_for()
    assert f"код ошибки {status}" in page.locator("#outage").inner_text()
    assert page.get_by_role("alert").filter(has_text="Ответа на последний запрос нет").is_visible()
    page.unroute("**/run/predict*")
    page.get_by_role("button", name="Спросить ещё раз").click()
    page.locator("#result .verdict", has_text="страх").wait_for()
    old.wait_for(state="hidden")
    page.get_by_text("Сервер снова отвечает").wait_for()


def test_a_result_of_lines_that_were_changed_is_marked_as_old(open_page: Open) -> None:
    page = open_page("files")
    lines = page.locator("#lines textarea")
    lines.fill(GLAD)
    page.get_by_role("button", name="Разобрать строки").click()
    page.get_by_text("Разобрано строк: 1").first.wait_for()
    old = page.get_by_text("Ответ относится к прежнему тексту").locator("visible=true")
    lines.fill(AFRAID)
    old.wait_for()
    lines.fill(GLAD)
    old.wait_for(state="hidden")
    page.route("**/queue/join*", lambda route: route.abort())
    page.get_by_role("button", name="Разобрать строки").click()
    old.wait_for()
    assert page.get_by_role("alert").filter(has_text="Сервер не отвечает").is_visible()


def test_two_rows_do_not_wait_for_the_end_of_a_file_of_somebody_else(
    open_page: Open, tmp_path: Path
) -> None:
    long = tmp_path / "long.txt"
    long.write_text("\n".join(f"{GLAD} {i}" for i in range(60_000)), "utf-8")
    first = open_page("files")
    upload(first, "files", long)
    first.get_by_text(re.compile(r"Разобрано [1-9]")).wait_for()
    second = open_page("files")
    second.locator("#lines textarea").fill(f"{GLAD}\n{AFRAID}")
    second.get_by_role("button", name="Разобрать строки").click()
    second.get_by_text("Разобрано строк: 2").first.wait_for()
    assert second.evaluate("scrollY") > 0, "the result is scrolled to"
    assert first.get_by_role("progressbar").is_visible()
    first.get_by_role("button", name="Остановить").locator("visible=true").click()
    first.get_by_text("Здесь появится таблица").wait_for()


def test_the_page_works_behind_nginx_below_a_path_with_tls(
    open_page: Open, below: str, tmp_path: Path
) -> None:
    page = open_page(at=below)
    write(page, AFRAID)
    page.locator("#result .verdict", has_text="страх").wait_for()
    page.goto(f"{below}#files")
    (tmp_path / "a.csv").write_text(f"text\n{GLAD}\n", "utf-8")
    upload(page, "files", tmp_path / "a.csv")
    page.get_by_text("Разобрано строк: 1").first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Скачать CSV").click()
    download.value.save_as(tmp_path / "back.csv")
    assert "эмоции" in (tmp_path / "back.csv").read_text("utf-8")
    page.goto(f"{below}#model")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Открыть отчёт").click()
    assert opened.value.get_by_role("heading", level=1).inner_text()


def test_axe_finds_nothing_serious_in_any_state(open_page: Open, axe: str) -> None:
    page = open_page(width=820)
    dark = {"light": "false", "dark": "true"}

    def serious(state: str) -> None:
        page.evaluate(axe)
        for theme, contrast in itertools.product(("light", "dark"), ("none", "active")):
            page.emulate_media(color_scheme=theme, forced_colors=contrast)
            page.wait_for_function(f"document.body.classList.contains('dark') === {dark[theme]}")
            settle(page)
            found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
            bad = [one for one in found if one["impact"] in ("serious", "critical")]
            told = [(one["id"], one["nodes"][0]["html"][:200]) for one in bad]
            assert told == [], (state, theme, contrast)

    serious("empty")
    write(page, GLAD)
    page.locator("#result .verdict", has_text="радость").wait_for()
    serious("text")
    page.route("**/run/predict*", lambda route: route.fulfill(status=502, body="x"))
    write(page, AFRAID)
    page.get_by_text("Ответ относится к прежнему тексту").locator("visible=true").wait_for()
    page.wait_for_timeout(800)
    serious("old")
    for view, field, text in (
        ("files", "lines", f"{GLAD}\n\n{AFRAID}"),
        ("dialogues", "transcript", f"Анна: {GLAD}\nПётр: {AFRAID}\n# второй\nА: да\nБ: нет"),
        ("compare", "compared", GLAD),
    ):
        page.goto(f"{page.url.split('#')[0]}#{view}")
        page.locator(f"#{field} textarea").fill(text)
        if view == "compare":
            page.get_by_label("Вторая модель").select_option("emotions-ru-small · INT8")
        page.locator(f"#view-{view} .button.solid").click()
        page.locator(f"#view-{view} .answer section:visible").first.wait_for()
        page.wait_for_timeout(800)
        serious(view)
    page.goto(f"{page.url.split('#')[0]}#model")
    serious("model")
