"""Our library, as its README says: strings in, predictions out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker import Loaded, Way

from ov_emotions import EmotionClassifier


def build(options: Mapping[str, Any]) -> Loaded:
    """Load a bundle.

    :param options: `model` (folder); `classifier` holds keyword arguments, none for the defaults;
        `trial` is texts that the limit tries its settings on, twice each.
    :return: the way `default`.
    """
    classifier = EmotionClassifier(options["model"], **options.get("classifier", {}))
    classifier.warm_up()
    for _ in range(2):
        classifier(options["trial"])

    def run(texts: list[str]) -> Any:
        # A single text goes as a caller sends it, not as a list of one.
        return [classifier(texts[0])] if len(texts) == 1 else classifier(texts)

    return Loaded({"default": Way(run, finish=lambda found: [list(p.labels) for p in found])})
