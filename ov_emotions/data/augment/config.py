"""Which rows are added to a prepared folder, and how they are made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from ov_emotions.errors import InputError

Method = Literal["back-translation", "synonyms", "asr-noise", "emoji", "oversample"]

METHODS: tuple[Method, ...] = get_args(Method)
"""In the order in which they are applied, whatever the order they are named in."""


@dataclass(frozen=True)
class AugmentConfig:
    """How rows are added; the same values give the same rows, whatever the number of processes.

    Every rate is a chance in [0, 1].

    :param data: a prepared folder; rows are made from those of its train split that were not made
        from others themselves.
    :param output: folder to write; replaced as a whole.
    :param method: what makes rows; may be named several times, and each method makes rows of its
        own from the rows as they came. `oversample` need not be named beside its factors.
    :param seed: of every choice.
    :param share: of the training rows, how many each method but oversample tries to make a row
        from.
    :param copies: rows that synonyms and asr-noise try to make from one.
    :param processes: how many at once; only the time depends on it.
    :param near_threshold: Jaccard similarity from which two texts count as nearly equal; the
        prepared folder's own if not given.
    :param synonym_rate: of the words with a synonym, how many are replaced; one at the least.
    :param synonym_senses: words with more senses than this in the WordNet are neither replaced nor
        put in the place of others.
    :param synonym_min_count: rows that a word and its synonym must stand in, so that it is known
        which labels they go with.
    :param synonym_telling: words, and synonyms, whose share of rows with some label differs by this
        many standard errors from what chance would give are left alone.
    :param noise_drop: of the words of at least 4 letters, how many lose a letter inside.
    :param noise_double: of the words of at least 4 letters, how many get one of them doubled.
    :param noise_confuse: of all words, how many get one spelling that sounds alike, where there is
        one.
    :param noise_reflexive: of the words in -тся and -ться, how many get the other ending.
    :param noise_ending: of the words of at least 5 letters, how many lose one or two at the end.
    :param noise_split: of the words of at least 6 letters, how many are split in two.
    :param noise_join: of the gaps between words, how many close.
    :param noise_filler: of the gaps before words, how many get a filler word; none after a
        preposition and the like.
    :param oversample: per label, how many times over its rows shall stand in train, the row itself
        included; the largest factor where a row has several. What is left over a whole number is
        the chance of one more.
    :param forward_model: Marian model from Russian, for back-translation; Hub id or folder.
    :param backward_model: Marian model back to Russian; Hub id or folder.
    :param beams: of the beam search; 1 takes the likeliest token at each step.
    :param batch_size: texts translated at once, of about the same length.
    :param max_tokens: longer texts are not translated, and longer translations are cut.
    :param translations: folder where translations are kept for runs that go on after a kill, or
        that share them; beside the output, with `.translations` at its name's end, if not given.
    :param device: cpu, cuda, or auto for CUDA where there is one; of back-translation.
    """

    data: Path
    output: Path
    method: tuple[Method, ...] = ()
    seed: int = 20261122
    share: float = 1.0
    copies: int = 1
    processes: int = 1
    near_threshold: float | None = None
    synonym_rate: float = 0.3
    synonym_senses: int = 2
    synonym_min_count: int = 10
    synonym_telling: float = 3.0
    noise_drop: float = 0.02
    noise_double: float = 0.01
    noise_confuse: float = 0.1
    noise_reflexive: float = 0.2
    noise_ending: float = 0.02
    noise_split: float = 0.01
    noise_join: float = 0.02
    noise_filler: float = 0.03
    oversample: dict[str, float] | None = None
    forward_model: str = "Helsinki-NLP/opus-mt-ru-en"
    backward_model: str = "Helsinki-NLP/opus-mt-en-ru"
    beams: int = 4
    batch_size: int = 32
    max_tokens: int = 256
    translations: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        if unknown := [name for name in self.method if name not in METHODS]:
            raise InputError(f"method must be one of {', '.join(METHODS)}, not {unknown[0]!r}")
        if not self.methods:
            raise InputError(f"name at least one method: {', '.join(METHODS)}")
        if "oversample" in self.method and not self.oversample:
            raise InputError("oversample needs factors, such as fear=3 (--oversample fear=3)")
        self._check_numbers()
        if self.near_threshold is not None and not 0 < self.near_threshold <= 1:
            raise InputError(f"near_threshold must be in (0, 1], not {self.near_threshold}")
        for label, factor in (self.oversample or {}).items():
            if not 1 <= factor <= 1000:
                raise InputError(f"oversample: {label} must be in [1, 1000], not {factor}")
        if self.output.resolve() == self.data.resolve():
            raise InputError("output must be another folder than data")

    def _check_numbers(self) -> None:
        rates = ["share", "synonym_rate"]
        rates += [f.name for f in fields(self) if f.name.startswith("noise_")]
        for name in rates:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(f"{name} must be in [0, 1], not {value}")
        positive = ("copies", "processes", "synonym_senses", "synonym_min_count", "beams")
        for name in (*positive, "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.synonym_telling > 0:
            raise InputError(f"synonym_telling must be above 0, not {self.synonym_telling}")
        if self.max_tokens < 4:
            raise InputError(f"max_tokens must be at least 4, not {self.max_tokens}")
        if self.seed < 0:
            raise InputError(f"seed must be at least 0, not {self.seed}")

    @property
    def methods(self) -> tuple[Method, ...]:
        """What is applied, in order."""
        named = {*self.method, *(["oversample"] if self.oversample else [])}
        return tuple(name for name in METHODS if name in named)

    @property
    def translations_folder(self) -> Path:
        """Where translations are kept."""
        return self.translations or self.output.with_name(f"{self.output.name}.translations")

    def parameters(self, method: Method) -> dict[str, object]:
        """Return what a method's rows depend on.

        :param method: one of METHODS.
        :return: names and values, as JSON takes them.
        """
        return {name: getattr(self, name) for name in _PARAMETERS[method]}


_NOISE = tuple(f.name for f in fields(AugmentConfig) if f.name.startswith("noise_"))
_PARAMETERS: dict[Method, tuple[str, ...]] = {
    "back-translation": ("share", "forward_model", "backward_model", "beams", "max_tokens"),
    "synonyms": (
        "share",
        "copies",
        "synonym_rate",
        "synonym_senses",
        "synonym_min_count",
        "synonym_telling",
    ),
    "asr-noise": ("share", "copies", *_NOISE),
    "emoji": ("share",),
    "oversample": ("oversample",),
}
