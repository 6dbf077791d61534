"""New rows that repeat what is already there, left out and counted."""

from __future__ import annotations

from ov_emotions.data.augment.new_rows import NewRows, Report
from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.data.near_duplicates import NearDuplicateIndex
from ov_emotions.normalize import normalize

REASONS = (
    "empty_after_normalising",
    "equal_to_held_out",
    "near_equal_to_held_out",
    "equal_to_training",
    "near_equal_to_training",
    "equal_to_new",
)


class Screen:
    """Lets through the new rows that neither repeat a held-out text nor a training row.

    A new row may be nearly equal to the row it was made from, and to others that were made; that is
    what most methods are for. It may not be nearly equal to any other row.

    :param held_out: normalised texts of all splits but train.
    :param train: the training rows.
    :param threshold: Jaccard similarity from which two texts count as nearly equal.
    """

    def __init__(self, held_out: list[str], train: LabelledTexts, threshold: float) -> None:
        texts = [normalize(text) for text in train.texts]
        # Rows that were made earlier have no place of their own here, only what they repeat.
        self._place: dict[int, int] = {}
        references = list(held_out)
        for i, text in enumerate(texts):
            if not train.augmentations[i]:
                self._place[i] = len(references)
                references.append(text)
        self._held_out_rows = len(held_out)
        self._held_out = frozenset(held_out)
        self._train = frozenset(texts)
        self._new: set[str] = set()
        self._index = NearDuplicateIndex(references, threshold)

    def keep(
        self, rows: NewRows, *, repeats: bool, report: Report
    ) -> tuple[NewRows, dict[str, int]]:
        """Leave out what repeats.

        :param rows: made by one method.
        :param repeats: whether the rows are to equal training rows, so that only held-out texts
            count.
        :param report: told how far the work is.
        :return: the rows left, and per reason how many were left out.
        """
        texts = [normalize(text) for text in rows.texts]
        own = [self._place[i] for i in rows.positions]
        near = self._index.find(texts, own, lambda done, n: report(done, n, "near duplicates"))
        dropped = dict.fromkeys(REASONS, 0)
        kept: list[int] = []
        for i, (text, match) in enumerate(zip(texts, near, strict=True)):
            reason = self._reason(text, match, repeats)
            if reason:
                dropped[reason] += 1
                continue
            kept.append(i)
            if not repeats:
                self._new.add(text)
        left = NewRows([rows.texts[i] for i in kept], [rows.positions[i] for i in kept])
        return left, dropped

    def _reason(self, text: str, match: int | None, repeats: bool) -> str | None:
        if not text:
            return "empty_after_normalising"
        if text in self._held_out:
            return "equal_to_held_out"
        if match is not None and match < self._held_out_rows:
            return "near_equal_to_held_out"
        if repeats:
            return None
        if text in self._train:
            return "equal_to_training"
        if match is not None:
            return "near_equal_to_training"
        return "equal_to_new" if text in self._new else None
