"""One text: its emotions, and the words that moved them."""

from __future__ import annotations

from ov_emotions.classifier import EmotionClassifier, decide
from ov_emotions.demo.attribution import attribute
from ov_emotions.demo.bars import bars, legend, summary
from ov_emotions.demo.failures import failure
from ov_emotions.demo.highlight import words
from ov_emotions.demo.markup import count
from ov_emotions.demo.texts import TEXTS, say
from ov_emotions.thresholds import sigmoid

MAX_CHARACTERS = 20_000


def empty() -> str:
    """Write what stands in place of a result before there is a text."""
    ghosts = "".join(f'<li style="--share:{share}%"></li>' for share in (86, 34, 18, 9, 5))
    return (
        f'<div class="empty"><ol class="ghosts" aria-hidden="true">{ghosts}</ol>'
        f"<p>{say('text.empty')}</p></div>"
    )


def analyse(classifier: EmotionClassifier, text: str) -> str:
    """Classify a text and explain the result.

    :param classifier: the model.
    :param text: what the reader wrote.
    :return: the markup of the result.
    :raises OvEmotionsError: if the classifier does.
    """
    if not text.strip():
        return empty()
    if len(text) > MAX_CHARACTERS:
        words_ = TEXTS["fail.long"].format(limit=count(MAX_CHARACTERS))
        return failure(TEXTS["fail.title"], words_)
    found = attribute(classifier, text)
    labels, thresholds = classifier.labels, classifier.thresholds
    russian = classifier.label_names_ru
    scores = sigmoid(found.logits[None, :])
    prediction = decide(labels, thresholds, scores, [False])[0]
    chosen = next(iter(prediction.scores))
    return (
        f'<section class="result" aria-labelledby="result-title">'
        f'<h2 id="result-title" class="eyebrow">{say("result.title")}</h2>'
        f'<div class="announce">{summary(prediction, thresholds, russian)}</div>'
        f"{bars(prediction, thresholds, russian, chosen=chosen)}{legend()}"
        f'<div class="moved">{words(found, labels, russian, chosen)}</div></section>'
    )
