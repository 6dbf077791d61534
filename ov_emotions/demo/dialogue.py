"""Dialogues on the page: the moment to step in, the curves, and what was said."""

from __future__ import annotations

from pathlib import Path

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.results import ResultStore
from ov_emotions.demo.sayings import bad_row
from ov_emotions.demo.texts import say
from ov_emotions.dialogues import (
    Analysis,
    Reading,
    analyse,
    page,
    parse_transcript,
    read_dialogues,
    to_csv,
    to_json,
)
from ov_emotions.files import write_json, write_text
from ov_emotions.reports.dialogues import fragment

SHOWN = 5
"""Dialogues that are drawn; the downloads have all."""

EXAMPLE = """\

[00:03] Оператор: добрый день меня зовут ирина чем могу помочь
[00:07] Клиент: здравствуйте хочу узнать когда приедет мастер
[00:14] Оператор: уточните пожалуйста номер договора
[00:19] Клиент: сейчас найду минутку вот он двести сорок семь
[00:26] Оператор: спасибо сейчас посмотрю заявку
[00:34] Клиент: хорошо я подожду спасибо
[00:41] Оператор: к сожалению мастер приедет только в четверг
[00:47] Клиент: как в четверг вы же обещали сегодня это просто безобразие
[00:55] Оператор: приношу извинения сегодня все мастера заняты
[01:02] Клиент: меня бесит ваше враньё я третий раз отпрашиваюсь с работы
[01:10] Оператор: я понимаю вас
[01:13] Клиент: ничего вы не понимаете отвратительная контора ненавижу вас всех
[01:22] Оператор: могу предложить перерасчёт за эти дни
[01:27] Клиент: да подавитесь вы своим перерасчётом какие же вы наглые
[01:36] Оператор: я подключаю старшего специалиста он приедет сегодня вечером
[01:44] Клиент: надоело это хамство верните мне деньги
"""
"""A made-up call to a support desk, as a transcript."""


def read_pasted(text: str) -> Reading:
    """Read a transcript that was pasted.

    :raises DataError: if no line has a speaker.
    """
    return parse_transcript(text, "Диалог")


def read_file(path: Path) -> Reading:
    """Read a file of dialogues, and forget where it lies.

    :raises DataError: if it holds no dialogue.
    """
    return read_dialogues([path])


def show(classifier: EmotionClassifier, store: ResultStore, base: str, reading: Reading) -> str:
    """Analyse dialogues and write what was found.

    :param classifier: the model.
    :param store: keeps the files to download.
    :param base: path of the page.
    :param reading: the dialogues.
    :return: the markup.
    :raises OvEmotionsError: if the classifier does.
    """
    analysis = analyse(reading.dialogues, classifier)
    token = _save(analysis, store)
    downloads = "".join(
        f'<a class="button" download href="{base}/results/{token}/{name}">{say(label)}</a>'
        for name, label in (
            ("dialogues.csv", "dialogues.csv"),
            ("dialogues.json", "dialogues.json"),
            ("dialogues.ru.html", "dialogues.page.ru"),
            ("dialogues.en.html", "dialogues.page.en"),
        )
    )
    both = "".join(
        f'<div class="one-language" lang="{code}">'
        f"{fragment(analysis, code, SHOWN, prefix=f'{code}-')}</div>"
        for code in ("ru", "en")
    )
    return (
        f'<section class="dialogues">{_left_out(reading)}{both}'
        f'<p class="downloads">{downloads}</p></section>'
    )


def _save(analysis: Analysis, store: ResultStore) -> str:
    token, folder = store.new()
    write_text(folder / "dialogues.csv", to_csv(analysis))
    write_json(folder / "dialogues.json", to_json(analysis))
    for code in ("ru", "en"):
        write_text(folder / f"dialogues.{code}.html", page(analysis, code))
    return token


def _left_out(reading: Reading) -> str:
    if not reading.left_out:
        return ""
    rows = "".join(
        f"<li>{say('files.bad.row', row=row.row)} {bad_row(row.reason).html()}</li>"
        for row in reading.left_out[:SHOWN]
    )
    title = say("files.bad", bad=len(reading.left_out))
    return f'<details class="bad" open><summary>{title}</summary><ul>{rows}</ul></details>'
