from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.attribution import MAX_PIECES, MAX_WORDS, attribute, cut
from ov_emotions.demo.highlight import strength, words
from ov_emotions.demo.single import MAX_CHARACTERS, analyse


class Counting:
    """Logits by a formula, and how often they were asked for."""

    def __init__(self, score: Callable[[str], list[float]]) -> None:
        self.score = score
        self.calls: list[list[str]] = []

    def predict_logits(self, texts: list[str]) -> np.ndarray:
        self.calls.append(texts)
        return np.array([self.score(text) for text in texts], dtype=np.float32)


def test_every_word_is_left_out_once_and_all_of_it_is_one_call():
    model = Counting(lambda text: [2.0 * text.count("рад"), -1.0 * text.count("зол")])
    found = attribute(model, "я рад  и\nзол")
    assert model.calls == [["я рад  и\nзол", "рад и зол", "я и зол", "я рад зол", "я рад и"]]
    assert found.pieces == ("я", "рад", "и", "зол")
    np.testing.assert_allclose(found.logits, [2.0, -1.0])
    np.testing.assert_allclose(found.effects, [[0, 0], [2, 0], [0, 0], [0, -1]])


def test_a_longer_text_is_cut_into_runs_that_together_are_the_text():
    text = " ".join(map(str, range(3 * MAX_PIECES + 1)))
    pieces = cut(text)
    assert len(pieces) == MAX_PIECES
    assert " ".join(pieces) == text
    assert {len(piece.split()) for piece in pieces} == {3, 4}


def test_a_text_of_too_many_words_is_classified_and_not_explained():
    model = Counting(lambda text: [float(len(text))])
    found = attribute(model, "да " * (MAX_WORDS + 1))
    assert found.pieces == ()
    assert len(model.calls) == 1
    assert len(model.calls[0]) == 1


def test_what_cannot_be_compared_is_no_effect():
    """Without its only readable word a text has logits of -inf."""
    model = Counting(lambda text: [1.0 if "да" in text else -np.inf])
    effects = attribute(model, "да !").effects
    assert np.isnan(effects[0, 0])
    assert effects[1, 0] == 0


@pytest.mark.parametrize(("effect", "level"), [(0.1, 0), (-0.3, 1), (0.7, 2), (-9.0, 3)])
def test_strength_goes_by_size_and_not_by_sign(effect: float, level: int):
    assert strength(effect) == level


def test_words_are_marked_by_sign_without_colour_too(tiny_classifier: EmotionClassifier):
    found = attribute(tiny_classifier, "радость слово злость")
    markup = words(found, tiny_classifier.labels, tiny_classifier.label_names_ru, "joy")
    shown = markup[markup.index('data-for="joy"') : markup.index('data-for="neutral"')]
    assert 'class="word for level-3">радость<sup aria-hidden="true">+++</sup>' in shown
    assert 'class="word against level-3">злость<sup aria-hidden="true">−−−</sup>' in shown
    assert "«радость» +" in shown
    assert "hidden" not in shown.split(">", 1)[0]


def test_a_result_agrees_with_the_classifier(tiny_classifier: EmotionClassifier):
    markup = analyse(tiny_classifier, "радость")
    prediction = tiny_classifier("радость")
    assert prediction.labels == ("joy",)
    assert '<span class="tag" data-emotion="joy">' in markup
    assert f"{round(prediction.scores['joy'] * 100)}%" in markup
    assert "threshold 60%" in markup


def test_texts_that_cannot_be_analysed_say_why(tiny_classifier: EmotionClassifier):
    assert "nothing to read here" in analyse(tiny_classifier, "?!")
    assert "more than 20,000 characters" in analyse(tiny_classifier, "а" * (MAX_CHARACTERS + 1))
    assert "will appear here" in analyse(tiny_classifier, " \n")
    assert "<script>" not in analyse(tiny_classifier, "<script>радость")
