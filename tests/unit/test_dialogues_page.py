from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from dialogue_examples import MADE_UP_CALL, WordClassifier, dialogue

from ov_emotions.dialogues import (
    Dialogue,
    DialogueSettings,
    Utterance,
    analyse,
    clients_figure,
    emotions_figure,
    negativity_figure,
    page,
    parse_transcript,
    styles,
)
from ov_emotions.dialogues.dialogue_words import WORDS
from ov_emotions.dialogues.spark import sparkline, thinned
from ov_emotions.errors import InputError

CLASSIFIER = WordClassifier()
HOSTILE = '"></title><script>alert(1)</script><img src=x onerror=alert(2)>'
_VOID = {"meta", "br", "img", "line", "rect", "circle", "path", "polyline", "polygon"}


class Reader(HTMLParser):
    """Collects tags, attributes and ids, and holds that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(markup: str) -> Reader:
    reader = Reader()
    reader.feed(markup)
    assert not reader._open
    return reader


@pytest.fixture(scope="module")
def one():
    return analyse(parse_transcript(MADE_UP_CALL, "звонок").dialogues, CLASSIFIER)


@pytest.fixture(scope="module")
def many():
    calls = parse_transcript(MADE_UP_CALL, "звонок").dialogues
    calm = dialogue("Клиент: всё хорошо я рада", "Оператор: спасибо вам большое", name="calm")
    return analyse([*calls, calm], CLASSIFIER)


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_page_says_what_was_found_and_asks_for_nothing_outside(many, language):
    markup = page(many, language)
    reader = read(markup)
    assert f'<html lang="{language}">' in markup
    assert len(set(reader.ids)) == len(reader.ids)
    assert not re.search(r'(?:src|href)="(?!#)', markup)
    assert "@import" not in markup
    assert "url(" not in markup
    text = " ".join(" ".join(reader.text).split())
    found = {
        "en": ("2 dialogues: 1 of 2 clients upset", "Hand over after utterance 10", "anger +0."),
        "ru": ("Диалогов: 2. Расстроены 1 из 2", "Передать после реплики 10", "гнев +0."),
    }[language]
    for words in (*found, "третий раз звоню и злюсь"):
        assert words in text


def test_a_russian_page_has_no_english_words_of_ours(many):
    text = " ".join(read(page(many, "ru").split("<main>")[1].split('id="method"')[0]).text)
    assert set(re.findall(r"[A-Za-z]{3,}", text)) <= {"calm", "JSON", "CSV"}


def test_the_dialogue_that_needs_somebody_stands_first(many):
    markup = page(many)
    assert markup.index('id="dialogue-1-title">звонок') < markup.index('id="dialogue-2-title">calm')


def test_whatever_a_dialogue_holds_stays_text():
    said = tuple(Utterance(HOSTILE + str(i % 2), f"{HOSTILE} злюсь {i}") for i in range(8))
    analysis = analyse([Dialogue(HOSTILE, said), Dialogue("\x00\u202e", said)], CLASSIFIER)
    for language in ("en", "ru"):
        reader = read(page(analysis, language))
        assert reader.tags.count("script") == 1
        assert "img" not in reader.tags
        assert not {name for name in reader.attributes if name.startswith("on")}
        assert HOSTILE in "".join(reader.text)


def test_a_dialogue_without_a_client_says_whom_to_name():
    analysis = analyse([dialogue("А: раз два", "Б: три")], CLASSIFIER)
    text = " ".join(read(page(analysis)).text)
    assert "--client NAME" in text
    assert "no moment to hand over is given" in text


@pytest.mark.parametrize(
    "said",
    [
        ["Клиент: да"],
        ["Клиент: …"],
        ["Клиент: …", "Клиент: …", "Оператор: алло"],
        [f"{i}: раз два три" for i in range(12)],
    ],
)
def test_unusual_dialogues_have_a_page(said):
    reader = read(page(analyse([dialogue(*said)], CLASSIFIER)))
    assert "svg" in reader.tags


def test_ten_thousand_utterances_have_a_page_of_bearable_size():
    said = tuple(
        Utterance("Клиент" if i % 2 else "Оператор", f"{i} {'злюсь' if i % 3 else 'вижу'}", i * 4.0)
        for i in range(10_000)
    )
    analysis = analyse([Dialogue("long", said)], CLASSIFIER, DialogueSettings(permutations=19))
    markup = page(analysis)
    assert len(markup) < 1_500_000
    assert "The first 1,000 of 10,000 utterances" in markup.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("width", [340.0, 780.0])
def test_plots_stand_alone_and_keep_inside(many, width):
    call = many.dialogues[0]
    drawn = [
        negativity_figure(call, width=width, language="ru"),
        emotions_figure(many, call.speakers[1], width=width),
        clients_figure(many, width=width),
    ]
    for markup in drawn:
        svg = ElementTree.fromstring(markup)
        assert float(svg.get("width")) == width
        height = float(svg.get("height"))
        for mark in svg.iter():
            for key, limit in (("x", width), ("cx", width), ("y", height), ("cy", height)):
                if mark.get(key):
                    assert 0 <= float(mark.get(key)) <= limit
    looks = set(re.findall(r"\.plot \.([\w-]+)", styles()))
    for name in ("course", "band", "dot", "turn", "limit", "client"):
        assert name in looks


def test_the_plot_marks_the_turning_point_and_the_hand_over(one):
    markup = negativity_figure(one.dialogues[0])
    assert markup.count('class="turn worse"') == 1
    assert "hand over" in markup
    assert markup.count("<circle") == 13
    assert "Клиент: from 0.1" in markup


def test_emotions_that_never_reach_their_threshold_are_not_drawn(one):
    client = one.dialogues[0].speakers[1]
    markup = emotions_figure(one, client)
    assert re.findall(r'class="value" text-anchor="end">(\w+)<', markup) == ["anger", "neutral"]


def test_a_language_that_is_not_spoken_is_refused(one):
    with pytest.raises(InputError, match="en or ru, not 'de'"):
        page(one, "de")


def test_both_languages_fill_in_the_same_values():
    for key, both in WORDS.items():
        fields = [set(re.findall(r"{(\w+)", words)) for words in both]
        assert fields[0] == fields[1], key


def test_a_sparkline_follows_the_level(one):
    line = sparkline(one.dialogues[0].speakers[1])
    assert len(line) == 8
    assert list(line) == sorted(line)
    assert thinned(one.dialogues[0].speakers[1].negativity.level, 3).shape == (3,)
