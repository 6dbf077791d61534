"""A classifier of a few words, and dialogues made up for the tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ov_emotions.classifier import TextClassifier
from ov_emotions.dialogues import Dialogue, Utterance
from ov_emotions.labels import EKMAN
from ov_emotions.prediction import Prediction, Texts, rank

THRESHOLD = 0.25
TELLING = {"злюсь": "anger", "грущу": "sadness", "рада": "joy"}

MADE_UP_CALL = """\
[00:03] Оператор: добрый день чем могу помочь
[00:09] Клиент: здравствуйте у меня вопрос
[00:15] Оператор: слушаю вас внимательно
[00:20] Клиент: где мой новый договор
[00:31] Клиент: номер сорок два восемнадцать
[00:36] Оператор: сейчас посмотрю в базе
[00:52] Клиент: хорошо я подожду немного
[01:20] Оператор: ничего не нашлось
[01:29] Клиент: ну вот я злюсь
[01:41] Клиент: опять то же я злюсь
[01:58] Клиент: третий раз звоню и злюсь
[02:05] Оператор: приношу вам извинения
[02:12] Клиент: очень сильно на вас злюсь
"""


class WordClassifier(TextClassifier):
    """Gives 0.9 to the label of a telling word, and to neutral where there is none."""

    def __init__(self) -> None:
        self._labels = EKMAN.labels
        self.calls: list[int] = []

    @property
    def thresholds(self) -> dict[str, float]:
        return dict.fromkeys(self._labels, THRESHOLD)

    @property
    def label_names_ru(self) -> dict[str, str]:
        return dict(EKMAN.russian)

    def predict_proba(self, texts: Texts) -> np.ndarray:
        self.calls.append(len(texts))
        scores = np.full((len(texts), len(self._labels)), 0.05, dtype=np.float32)
        for row, text in zip(scores, texts, strict=True):
            found = [label for word, label in TELLING.items() if word in text]
            for label in found or ["neutral"]:
                row[self._labels.index(label)] = 0.9
        return scores

    def _predict(self, texts: Sequence[str]) -> list[Prediction]:
        scores = self.predict_proba(list(texts))
        return rank(self._labels, scores >= THRESHOLD, scores, [False] * len(texts))


def dialogue(*said: str, name: str = "d") -> Dialogue:
    """Make a dialogue of `speaker: text` strings."""
    pairs = (line.split(": ", 1) for line in said)
    return Dialogue(name, tuple(Utterance(speaker, text) for speaker, text in pairs))
