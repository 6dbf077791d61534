from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from dialogue_examples import MADE_UP_CALL, WordClassifier, dialogue
from page_reader import PageReader

from ov_emotions.dialogues import (
    Dialogue,
    DialogueSettings,
    Utterance,
    analyse,
    emotions_figure,
    negativity_figure,
    page,
    parse_transcript,
    styles,
)
from ov_emotions.reports.dialogue_sentences import headline
from ov_emotions.reports.language import Language

CLASSIFIER = WordClassifier()
HOSTILE = '"></title><script>alert(1)</script><img src=x onerror=alert(2)>'


@pytest.fixture(scope="module")
def one():
    return analyse(parse_transcript(MADE_UP_CALL, "звонок").dialogues, CLASSIFIER)


@pytest.fixture(scope="module")
def many():
    calls = parse_transcript(MADE_UP_CALL, "звонок").dialogues
    calm = dialogue("Клиент: всё хорошо я рада", "Оператор: спасибо вам большое", name="calm")
    return analyse([*calls, calm], CLASSIFIER)


@pytest.mark.parametrize(
    ("language", "found"),
    [
        ("en", ("1 of 2 dialogues needed another operator", "Hand over after utterance 10", "0.5")),
        ("ru", ("В 1 из 2 диалогов был нужен другой оператор", "после реплики 10", "0,5")),
    ],
)
def test_a_page_says_what_was_found_and_asks_for_nothing_outside(many, language, found):
    markup = page(many, language)
    reader = PageReader(markup)
    assert f'<html lang="{language}">' in markup
    assert len(set(reader.ids)) == len(reader.ids)
    assert not re.search(r'(?:src|href)="(?!#)', markup)
    assert "@import" not in markup
    assert set(re.findall(r"url\((\w+):", markup)) == {"data"}
    text = " ".join(reader.text.split())
    for words in (*found, "третий раз звоню и злюсь"):
        assert words in text, words


def test_a_russian_page_has_no_english_words_of_ours(many):
    main = page(many, "ru").split("<main>")[1].split('<section id="method"')[0]
    found = set(re.findall(r"[A-Za-z]{3,}", re.sub(r"<[^>]*>", " ", main)))
    assert found <= {"calm", "JSON", "CSV"}


def test_the_dialogue_that_needs_somebody_stands_first_with_the_sentence_that_tipped_it(many):
    first = page(many).split('id="first"')[1].split("</section>")[0]
    assert first.index("звонок") < first.index("calm")
    tipped = many.dialogues[0].utterances[many.dialogues[0].handover.position]
    assert tipped.utterance.text in first


def test_a_headline_counts_no_client_that_it_doubts(many):
    assert not any(client.sure for client in many.clients)
    told = headline(many, Language("en"))[1].replace("\N{NO-BREAK SPACE}", " ")
    assert told == (
        "Of 2 clients, 0 are certainly upset, 0 calm and 0 in between. "
        "For 2 of them too little was said to tell."
    )


def test_whatever_a_dialogue_holds_stays_text():
    said = tuple(Utterance(HOSTILE + str(i % 2), f"{HOSTILE} злюсь {i}") for i in range(8))
    analysis = analyse([Dialogue(HOSTILE, said), Dialogue("\x00\u202e", said)], CLASSIFIER)
    for language in ("en", "ru"):
        reader = PageReader(page(analysis, language))
        assert reader.tags.count("script") == 1
        assert "img" not in reader.tags
        assert not {name for name, _ in reader.attributes if name.startswith("on")}
        assert HOSTILE in reader.text


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (["А: раз два", "Б: три"], "--client NAME"),
        (["Клиент: да"], "an even conversation"),
        (["Клиент: …"], "nothing that could be read"),
        (["Клиент: …", "Клиент: …", "Оператор: алло"], "nothing that could be read"),
        ([f"{i}: раз два три" for i in range(12)], "no moment to hand over is given"),
    ],
)
def test_unusual_dialogues_have_a_page(said, told):
    reader = PageReader(page(analyse([dialogue(*said)], CLASSIFIER)))
    assert "svg" in reader.tags
    assert told in reader.text


def test_ten_thousand_utterances_have_a_page_of_bearable_size():
    said = tuple(
        Utterance("Клиент" if i % 2 else "Оператор", f"{i} {'злюсь' if i % 3 else 'вижу'}", i * 4.0)
        for i in range(10_000)
    )
    analysis = analyse([Dialogue("long", said)], CLASSIFIER, DialogueSettings(permutations=19))
    markup = page(analysis)
    assert len(markup) < 1_500_000
    assert "The first 1,000 of 10,000 utterances" in markup.replace("\N{NO-BREAK SPACE}", " ")


def test_plots_stand_alone_and_keep_inside(many):
    call = many.dialogues[0]
    drawn = [
        negativity_figure(call, width=340.0, language="ru"),
        emotions_figure(many, call.speakers[1], width=340.0),
    ]
    for markup in drawn:
        svg = ElementTree.fromstring(markup)
        width, height = float(svg.get("width")), float(svg.get("height"))
        assert width == 340
        for mark in svg.iter():
            for key, limit in (("x", width), ("cx", width), ("y", height), ("cy", height)):
                if mark.get(key):
                    assert 0 <= float(mark.get(key)) <= limit
    looks = set(re.findall(r"\.plot \.([\w-]+)", styles()))
    assert {"course", "band", "dot", "turn", "limit"} <= looks


def test_the_plots_show_the_turning_point_the_hand_over_and_the_emotions_that_are_there(one):
    markup = negativity_figure(one.dialogues[0])
    assert markup.count('class="turn worse"') == 1
    assert "hand over" in markup
    assert markup.count("<circle") == 13
    assert "Клиент: from 0.1" in markup
    emotions = emotions_figure(one, one.dialogues[0].speakers[1])
    assert re.findall(r'class="value" text-anchor="end">([a-z]+)<', emotions) == [
        "anger",
        "neutral",
    ]
