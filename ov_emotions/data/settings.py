"""What a user sets: of preparing the raw sets, importing own files, and adding rows."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal, get_args

from msgspec import Meta

from ov_emotions.errors import InputError
from ov_emotions.labels import EKMAN, GOEMOTIONS
from ov_emotions.schema import DEFAULT_MODEL, Count, Flag, check_fields

SEED = 20261122
Device = Literal["auto", "cpu", "cuda"]
Seed = Annotated[int, Meta(ge=0)]
Tokens = Annotated[int, Meta(ge=4)]
Rate = Annotated[float, Meta(ge=0, le=1)]
Part = Annotated[float, Meta(ge=0, lt=1)]
Similarity = Annotated[float, Meta(gt=0, le=1)]

LeftOut = Literal["brighter_rus", "cedr", "ru_izard", "support_desk"]
"""Sets that need not be read; GoEmotions-ru has validation and test, and always is."""


@dataclass(frozen=True)
class PrepareConfig:
    """How the prepared folder is made.

    :param raw: folder of the raw sets.
    :param output: folder to write; replaced as a whole.
    :param labels: ekman-7 of all four sets, or goemotions-28 of GoEmotions-ru alone.
    :param seed: of the held-out rows and the parts of validation.
    :param brighter_test_share: share of BRIGHTER's training rows that is held out as a test set.
    :param validation_share: share of the training rows of CEDR, BRIGHTER and the support desk that
        joins validation, so that thresholds and models are chosen by all sets.
    :param near_threshold: Jaccard similarity from which two texts count as nearly equal.
    :param english: read the English original of GoEmotions too, as training rows, but for those
        whose Russian twin is held out or nearly equals a held-out text.
    :param desk: CSV file of support-desk rows: text, role, trade and labels.
    :param without: sets that are left out.
    :param screen: files with texts, such as check lists; training rows that nearly equal one of
        them are dropped and counted.
    """

    raw: Path
    output: Path
    labels: str = EKMAN.name
    seed: Seed = SEED
    brighter_test_share: Part = 0.25
    validation_share: Part = 0.0
    near_threshold: Similarity = 0.8
    english: bool = False
    desk: Path | None = None
    without: tuple[LeftOut, ...] = ()
    screen: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, InputError)
        if self.labels not in (EKMAN.name, GOEMOTIONS.name):
            raise InputError(
                f"labels must be {EKMAN.name} or {GOEMOTIONS.name}, not {self.labels!r}; data with "
                "labels of their own go through `ov-emotions data import`"
            )
        if self.desk is not None and self.labels != EKMAN.name:
            raise InputError(f"desk has rows with the labels of {EKMAN.name}, not {self.labels}")


@dataclass(frozen=True, kw_only=True)
class Rewriting:
    """How a sequence-to-sequence model writes texts anew.

    :param prefix: put before each text that is translated or paraphrased, as T5-like models want
        it; nothing is put before what goes there and back.
    :param beams: of the beam search; 1 takes the likeliest token at each step.
    :param batch_size: texts translated at once, of about the same length.
    :param max_tokens: longer texts are not translated or paraphrased, and longer results are cut.
    :param translations: folder where translations are kept for runs that go on after a kill, or
        that share them; beside the output, with `.translations` at its name's end, if not given.
    :param device: cpu, cuda, or auto for CUDA where there is one; of these models.
    """

    prefix: str = ""
    beams: Count = 4
    batch_size: Count = 32
    max_tokens: Tokens = 256
    translations: Path | None = None
    device: Device = "auto"


@dataclass(frozen=True)
class ImportConfig(Rewriting):
    """What is read, how its labels are told, and how it is split.

    :param files: .csv, .tsv, .jsonl or .parquet with the rows to train on; validation and test rows
        are taken from them where no files are named for these.
    :param output: folder to write; replaced as a whole.
    :param validation: files of the validation rows.
    :param test: files of the test rows, which are kept as they are.
    :param text_column: the column with the text.
    :param label_columns: one column a label, holding 1 (present), 0 (absent) or nothing (unknown);
        where neither these nor a list column is named, all columns are taken that hold nothing
        else, or else a column called labels.
    :param list_column: the column that lists the labels of a row: a list, a JSON list, or names
        with a delimiter between them; an empty list says that the row has none of them.
    :param labels: all labels that a list column may hold (default: those that it does hold).
    :param delimiter: between the names in a list column.
    :param russian: the Russian name of a label.
    :param label_set: what the label set is called (default: that of a known set with the same
        labels, else the name and the number of labels).
    :param name: what the data set is called (default: the name of the first file).
    :param licence: SPDX expression of what the data may be used under, for the model card.
    :param url: where they are published, for the model card.
    :param attribution: who made them, for the model card.
    :param validation_share: of the rows that validation is given where it has no files.
    :param test_share: the same of test; 0 for no test split.
    :param seed: of the splits.
    :param near_threshold: Jaccard similarity from which two texts count as nearly equal.
    :param translate: model that the texts are translated with first: Marian or another
        sequence-to-sequence model, Hub id or folder.
    :param translate_to: code of the language to write in, of models that know several: rus_Cyrl,
        ru_RU or ru, as the model has it; they read their default language, mostly English.
    """

    files: Annotated[tuple[Path, ...], Flag(positional=True)]
    output: Path
    validation: tuple[Path, ...] = ()
    test: tuple[Path, ...] = ()
    text_column: str = "text"
    label_columns: tuple[str, ...] = ()
    list_column: str | None = None
    labels: tuple[str, ...] = ()
    delimiter: str = ","
    russian: dict[str, str] | None = None
    label_set: str | None = None
    name: str | None = None
    licence: str = "unknown"
    url: str = "unknown"
    attribution: str = "unknown"
    validation_share: Annotated[float, Meta(gt=0, lt=1)] = 0.15
    test_share: Part = 0.15
    seed: Seed = SEED
    near_threshold: Similarity = 0.8
    translate: str | None = None
    translate_to: str | None = None

    def __post_init__(self) -> None:
        check_fields(self, InputError)
        if not self.files:
            raise InputError("files must name at least one file")
        if self.label_columns and (self.list_column is not None or self.labels):
            raise InputError(
                "label_columns are one column a label; list_column and labels go without them"
            )
        for name in (
            "label_set",
            "name",
            "licence",
            "url",
            "attribution",
            "list_column",
            "translate",
        ):
            value = getattr(self, name)
            if value is not None and not value.strip():
                raise InputError(f"{name} must not be blank")
        if self.translate_to is not None and self.translate is None:
            raise InputError("translate_to goes with translate, which names a model")
        if not self.delimiter:
            raise InputError("delimiter must not be empty")
        if self.validation_share + self.test_share >= 1:
            raise InputError("validation_share and test_share must leave rows to train on")

    @property
    def set_name(self) -> str:
        """What the data set is called."""
        return self.name or self.files[0].name.removesuffix(".gz").rpartition(".")[0]


Method = Literal["back-translation", "paraphrase", "synonyms", "asr-noise", "emoji", "oversample"]

METHODS: tuple[Method, ...] = get_args(Method)
"""In the order in which they are applied, whatever the order they are named in."""


@dataclass(frozen=True)
class AugmentConfig(Rewriting):
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
    :param model: sequence-to-sequence model that writes paraphrases; Hub id or folder.
    :param forward_model: Marian model from Russian, for back-translation; Hub id or folder.
    :param backward_model: Marian model back to Russian; Hub id or folder.
    """

    data: Annotated[Path, Flag(positional=True)]
    output: Path
    method: tuple[Method, ...] = ()
    seed: Seed = SEED
    share: Rate = 1.0
    copies: Count = 1
    processes: Count = 1
    near_threshold: Similarity | None = None
    synonym_rate: Rate = 0.3
    synonym_senses: Count = 2
    synonym_min_count: Count = 10
    synonym_telling: Annotated[float, Meta(gt=0)] = 3.0
    noise_drop: Rate = 0.02
    noise_double: Rate = 0.01
    noise_confuse: Rate = 0.1
    noise_reflexive: Rate = 0.2
    noise_ending: Rate = 0.02
    noise_split: Rate = 0.01
    noise_join: Rate = 0.02
    noise_filler: Rate = 0.03
    oversample: dict[str, Annotated[float, Meta(ge=1, le=1000)]] | None = None
    model: str | None = None
    forward_model: str = "Helsinki-NLP/opus-mt-ru-en"
    backward_model: str = "Helsinki-NLP/opus-mt-en-ru"

    def __post_init__(self) -> None:
        check_fields(self, InputError)
        if not self.methods:
            raise InputError(f"name at least one method: {', '.join(METHODS)}")
        if "oversample" in self.method and not self.oversample:
            raise InputError("oversample needs factors, such as fear=3 (--oversample fear=3)")
        if "paraphrase" in self.method and self.model is None:
            raise InputError("paraphrase needs a model: its folder or Hub id (--model)")
        if self.output.resolve() == self.data.resolve():
            raise InputError("output must be another folder than data")

    @property
    def methods(self) -> tuple[Method, ...]:
        """What is applied, in order."""
        named = {*self.method, *(["oversample"] if self.oversample else [])}
        return tuple(name for name in METHODS if name in named)

    def parameters(self, method: Method) -> dict[str, object]:
        """Return what a method's rows depend on.

        :param method: one of METHODS.
        :return: names and values, as JSON takes them.
        """
        return {name: getattr(self, name) for name in _PARAMETERS[method]}


_NOISE = tuple(f.name for f in fields(AugmentConfig) if f.name.startswith("noise_"))
_PARAMETERS: dict[Method, tuple[str, ...]] = {
    "back-translation": ("share", "forward_model", "backward_model", "beams", "max_tokens"),
    "paraphrase": ("share", "model", "prefix", "beams", "max_tokens"),
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


@dataclass(frozen=True)
class StatsConfig:
    """How a prepared folder is described.

    :param model: bundle whose tokeniser counts tokens: shipped name, folder or Hub id (default: the
        shipped default).
    :param words_split: split whose telling words are sought, and which the plots show.
    :param words: of a label.
    :param least_texts: texts with the label that must have a word.
    :param prior_words: weight of the prior of the log-odds ratio, in words.
    :param near_threshold: Jaccard similarity from which two texts count as nearly equal.
    """

    model: str = DEFAULT_MODEL
    words_split: Annotated[str, Flag("NAME", name="split")] = "train"
    words: Count = 40
    least_texts: Count = 3
    prior_words: Annotated[float, Meta(gt=0)] = 1000.0
    near_threshold: Similarity = 0.8

    def __post_init__(self) -> None:
        check_fields(self, InputError)
