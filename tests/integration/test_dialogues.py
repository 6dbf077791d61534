"""Dialogues through a shipped model: a made-up call that gets worse, and many at once."""

from __future__ import annotations

import json

import pytest

from ov_emotions import EmotionClassifier
from ov_emotions.cli.main import main
from ov_emotions.dialogues import analyse, parse_transcript

MADE_UP = """\
[00:03] Оператор: добрый день чем могу помочь
[00:09] Клиент: здравствуйте подскажите пожалуйста когда придёт мастер
[00:15] Оператор: номер договора назовите пожалуйста
[00:20] Клиент: сорок два восемнадцать на имя петровой
[00:31] Клиент: спасибо подожду
[00:36] Оператор: мастер был у вас вчера
[00:52] Клиент: никого вчера не было я весь день была дома
[01:20] Оператор: у меня отмечено что заявка выполнена
[01:29] Клиент: вы издеваетесь надо мной это отвратительно
[01:41] Клиент: ненавижу вашу компанию вы меня бесите
[01:50] Оператор: я понимаю
[01:58] Клиент: да как вам не стыдно сволочи
[02:12] Клиент: я очень злая на вас буду жаловаться

[00:02] Оператор: слушаю вас
[00:05] Клиент: хотела поблагодарить вашего мастера спасибо огромное
[00:14] Клиент: я так рада всё прекрасно работает
"""


@pytest.fixture(scope="module")
def classifier():
    return EmotionClassifier("emotions-ru-tiny", threads=1)


@pytest.fixture(scope="module")
def analysis(classifier):
    return analyse(parse_transcript(MADE_UP, "call").dialogues, classifier)


def test_the_angry_client_is_upset_and_handed_over_and_the_glad_one_is_not(analysis):
    angry, glad = analysis.clients
    assert (angry.name, angry.segment, angry.handovers) == ("Клиент, call-1", "upset", 1)
    assert (glad.name, glad.segment, glad.handovers) == ("Клиент, call-2", "calm", 0)
    call = analysis.dialogues[0]
    assert 9 <= call.handover.position <= 12
    (client,) = call.clients
    assert client.negativity.level[-1] > 0.6 > 0.3 > client.negativity.level[0]
    (point,) = client.turning_points
    assert point.worse
    assert 6 <= point.position <= 9


def test_the_command_gives_the_same_twice(tmp_path, capsys):
    path = tmp_path / "call.txt"
    path.write_text(MADE_UP, encoding="utf-8")
    answers = []
    for _ in range(2):
        flags = ["--model", "emotions-ru-tiny", "--threads", "1", "--json"]
        assert main(["dialog", str(path), *flags]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    assert json.loads(answers[0])["model"] == "emotions-ru-tiny"


def test_recognised_utterances_of_the_target_domain_go_through(shared, classifier):
    lines = (shared / "data" / "asr_unlabelled" / "texts.txt").read_text("utf-8").splitlines()
    said = "\n".join(
        f"{('Клиент', 'Оператор')[i % 2]}: {line}" for i, line in enumerate(lines[:600])
    )
    (dialogue,) = analyse(parse_transcript(said, "made of asr").dialogues, classifier).dialogues
    assert len(dialogue.utterances) == 600
    for speaker in dialogue.speakers:
        assert 0 <= speaker.negative.low <= speaker.negative.value <= speaker.negative.high <= 1
        assert (speaker.negativity.low <= speaker.negativity.level).all()
