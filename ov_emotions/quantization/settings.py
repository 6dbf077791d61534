"""What a study compares, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from ov_emotions.errors import QuantizationError
from ov_emotions.schema import Count, Flag, InferencePrecision, check_fields


@dataclass(frozen=True)
class StudyConfig:
    """What is compared, and how.

    :param source: checkpoint or fp32 bundle: folder or Hub id.
    :param recipes: recipe or .toml file; repeatable (default: all that come with the library).
        fp32 is added, as the reference.
    :param precisions: repeatable (default: those that this CPU has).
    :param final_split: split that confirms the choice, which validation makes; None for no such
        split.
    :param max_drop: weighted F1 that may be lost to fp32.
    :param subset_size: calibration texts (default: each recipe's); for own data that have fewer.
    :param rounds: of timing; 0 for none.
    :param single_texts: classified one by one in a round.
    :param offline_texts: classified in one call in a round.
    :param seed: of the choice of texts, and of the folds.
    :param bundles: folder to keep the bundles in (default: they are not kept).
    """

    source: Annotated[str, Flag(positional=True)]
    recipes: Annotated[tuple[str, ...], Flag(name="recipe", each=True)]
    precisions: Annotated[tuple[InferencePrecision, ...], Flag(name="precision", each=True)] = ()
    final_split: Annotated[str | None, Flag("SPLIT")] = "test_goemotions"
    max_drop: Annotated[float, Meta(ge=0)] = 0.003
    subset_size: Count | None = None
    rounds: Annotated[int, Meta(ge=0)] = 5
    single_texts: Count = 150
    offline_texts: Count = 400
    seed: int = 20261122
    bundles: Annotated[Path | None, Flag("FOLDER")] = None

    def __post_init__(self) -> None:
        check_fields(self, QuantizationError)
        if self.precisions and "f32" not in self.precisions:
            raise QuantizationError("precisions must hold f32: the reference is fp32 in f32")
