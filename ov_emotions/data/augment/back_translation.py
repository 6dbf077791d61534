"""Texts translated to English and back.

Sennrich, Haddow and Birch, "Improving Neural Machine Translation Models with Monolingual Data",
2016; for classification, Xie et al., "Unsupervised Data Augmentation for Consistency Training",
2020.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ov_emotions.data.augment.config import AugmentConfig
from ov_emotions.data.augment.marian import Marian
from ov_emotions.data.augment.new_rows import NewRows, Report
from ov_emotions.normalize import normalize

_LENGTHS = (0.5, 2.0)
"""Words of the result by those of the text: models that lose the thread repeat or drop parts."""


def back_translate(
    texts: Sequence[str], positions: Sequence[int], config: AugmentConfig, report: Report
) -> NewRows:
    """Translate texts to English and back to Russian.

    :param texts: all texts of the split.
    :param positions: of those to translate.
    :param config: the models, and how they search.
    :param report: told how far the work is.
    :return: what came back, where it differs from the text and is about as long.
    :raises DataError: if a model is missing, or translations cannot be kept.
    """
    chosen = [texts[i] for i in positions]
    forward = Marian(config.forward_model, config)
    backward = Marian(
        config.backward_model, config
    )  # before hours of work, to see that it is there
    english = forward.translate(chosen, _noted(report, "to English"))
    russian = backward.translate(list(english.values()), _noted(report, "back to Russian"))
    not_made = {"too_long": 0, "unchanged": 0, "length_differs": 0}
    made: list[tuple[str, int]] = []
    for i in positions:
        back = russian.get(english.get(texts[i], ""))
        reason = "too_long" if back is None else _fault(texts[i], back)
        if reason:
            not_made[reason] += 1
        elif back is not None:
            made.append((back, i))
    facts: dict[str, object] = {
        "forward_sha256": forward.sha256,
        "backward_sha256": backward.sha256,
    }
    return NewRows([text for text, _ in made], [i for _, i in made], not_made, facts)


def _fault(text: str, back: str) -> str | None:
    before, after = normalize(text).split(), normalize(back).split()
    if before == after:
        return "unchanged"
    low, high = _LENGTHS
    # One word more or less is no sign in a short text.
    if not low * len(before) - 1 <= len(after) <= high * len(before) + 1:
        return "length_differs"
    return None


def _noted(report: Report, note: str) -> Callable[[int, int], None]:
    return lambda done, total: report(done, total, note)
