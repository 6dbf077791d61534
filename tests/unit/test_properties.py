"""What holds for any string at all."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ov_emotions import EmotionClassifier
from ov_emotions.normalize import normalize

TOLERANCE = 1e-5
"""Of a probability: how a row is batched may change the order of float32 sums, and no more."""

QUICK = settings(max_examples=60, deadline=None)

anything = st.text(st.characters(exclude_categories=()), max_size=60)
spoken = st.lists(
    st.sampled_from(["я", "рад", "радость", "злость", "чёрт", "слово", "😀", "[NAME]", "12"]),
    max_size=40,
).map(" ".join)
texts = st.one_of(anything, spoken)


@QUICK
@given(text=texts)
def test_scores_are_finite_probabilities(tiny_classifier: EmotionClassifier, text: str) -> None:
    prediction = tiny_classifier(text)
    values = np.array(list(prediction.scores.values()))
    assert np.isfinite(values).all()
    assert ((values >= 0) & (values <= 1)).all()
    assert set(prediction.scores) == set(tiny_classifier.labels)
    assert (values == 0).all() == (normalize(text) == "")
    assert list(prediction.labels) == [
        label
        for label, score in prediction.scores.items()
        if np.float32(score) >= np.float32(tiny_classifier.thresholds[label])
    ]


@QUICK
@given(batch=st.lists(texts, min_size=1, max_size=12), data=st.data())
def test_company_and_order_change_nothing(
    tiny_classifier: EmotionClassifier, batch: list[str], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(batch))))
    together = tiny_classifier.predict_proba(batch)
    shuffled = tiny_classifier.predict_proba([batch[i] for i in order])
    alone = np.concatenate([tiny_classifier.predict_proba([text]) for text in batch])
    np.testing.assert_allclose(together, alone, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(shuffled, together[order], rtol=0, atol=TOLERANCE)
