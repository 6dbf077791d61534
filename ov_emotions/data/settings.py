"""How the raw sets, and how own data, become a prepared folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ov_emotions.errors import InputError
from ov_emotions.labels import EKMAN


@dataclass(frozen=True)
class PrepareConfig:
    """How the prepared folder is made.

    :param raw: folder of the raw sets.
    :param output: folder to write; replaced as a whole.
    :param labels: ekman-7 of all four sets, or goemotions-28 of GoEmotions-ru alone.
    :param seed: of the held-out rows and the parts of validation.
    :param brighter_test_share: share of BRIGHTER's training rows that is held out as a test set.
    :param near_threshold: Jaccard similarity from which two texts count as nearly equal.
    """

    raw: Path
    output: Path
    labels: str = EKMAN.name
    seed: int = 20261122
    brighter_test_share: float = 0.25
    near_threshold: float = 0.8

    def __post_init__(self) -> None:
        from ov_emotions.data.sources import PREPARED_SETS  # NumPy comes with it

        if self.labels not in PREPARED_SETS:
            raise InputError(
                f"labels must be {' or '.join(PREPARED_SETS)}, not {self.labels!r}; data with "
                "labels of their own go through `ov-emotions data import`"
            )
        if self.seed < 0:
            raise InputError(f"seed must be at least 0, not {self.seed}")
        if not 0 <= self.brighter_test_share < 1:
            raise InputError(
                f"brighter_test_share must be in [0, 1), not {self.brighter_test_share}"
            )
        if not 0 < self.near_threshold <= 1:
            raise InputError(f"near_threshold must be in (0, 1], not {self.near_threshold}")


@dataclass(frozen=True)
class ImportConfig:
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
    """

    files: tuple[Path, ...]
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
    validation_share: float = 0.15
    test_share: float = 0.15
    seed: int = 20261122
    near_threshold: float = 0.8

    def __post_init__(self) -> None:
        if not self.files:
            raise InputError("files must name at least one file")
        if self.label_columns and (self.list_column is not None or self.labels):
            raise InputError(
                "label_columns are one column a label; list_column and labels go without them"
            )
        for name in ("label_set", "name", "licence", "url", "attribution", "list_column"):
            value = getattr(self, name)
            if value is not None and not value.strip():
                raise InputError(f"{name} must not be blank")
        if not self.delimiter:
            raise InputError("delimiter must not be empty")
        # Written so that NaN is refused too.
        if not 0 < self.validation_share < 1:
            raise InputError(f"validation_share must be in (0, 1), not {self.validation_share}")
        if not 0 <= self.test_share < 1:
            raise InputError(f"test_share must be in [0, 1), not {self.test_share}")
        if self.validation_share + self.test_share >= 1:
            raise InputError("validation_share and test_share must leave rows to train on")
        if self.seed < 0:
            raise InputError(f"seed must be at least 0, not {self.seed}")
        if not 0 < self.near_threshold <= 1:
            raise InputError(f"near_threshold must be in (0, 1], not {self.near_threshold}")

    @property
    def set_name(self) -> str:
        """What the data set is called."""
        return self.name or self.files[0].name.removesuffix(".gz").rpartition(".")[0]
