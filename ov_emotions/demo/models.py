"""The models that can be set side by side; each is loaded when it is first asked for."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ov_emotions.bundle import SHIPPED, Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.errors import InputError


class Models:
    """Classifiers by a name for people.

    :param first: the page's own.
    :param others: bundles by name, folder or Hub id, given to compare with.
    :param threads: CPU threads of an inference; None for all cores.
    :raises BundleError: if one of the others is missing or damaged.
    """

    def __init__(
        self, first: EmotionClassifier, others: Sequence[str] = (), threads: int | None = None
    ) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._bundles: dict[str, Bundle] = {}
        own = self._add(first.bundle)
        for source in (*others, *SHIPPED):
            self._add(Bundle.load(source))
        self._loaded = {own: first}

    def _add(self, bundle: Bundle) -> str:
        manifest = bundle.manifest
        plain = f"{manifest.name} · {manifest.precision.upper()}"
        name, number = plain, 1
        while name in self._bundles:
            if self._bundles[name].folder.resolve() == bundle.folder.resolve():
                return name
            number += 1
            name = f"{plain} ({number})"
        self._bundles[name] = bundle
        return name

    @property
    def names(self) -> tuple[str, ...]:
        """The page's own first, then those given, then those that come with the library."""
        return tuple(self._bundles)

    def bundle(self, name: str) -> Bundle:
        """Return a model's folder."""
        return self._bundles[name]

    def get(self, name: str) -> EmotionClassifier:
        """Load a model, or return it where that was done before.

        :param name: one of `names`.
        :return: the classifier.
        :raises InputError: if there is no such model.
        :raises OvEmotionsError: if it cannot be loaded.
        """
        if name not in self._bundles:
            raise InputError(f"there is no model {name!r} here; there are {', '.join(self.names)}")
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = EmotionClassifier(self._bundles[name], threads=self._threads)
            return self._loaded[name]
