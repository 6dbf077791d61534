"""Recipes: what is done to a model's weights, as TOML files that are checked before work begins."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from ov_emotions.errors import QuantizationError
from ov_emotions.schema import check_fields, from_builtins, read_toml

Positive = Annotated[int, Meta(ge=1)]
Weights = Literal["fp32", "fp16", "int8", "int4"]
CompressionMode = Literal["int8_sym", "int8_asym", "int4_sym", "int4_asym"]

DEFAULT_RECIPE = "int8-mixed"


@dataclass(frozen=True)
class PtqConfig:
    """Post-training quantization of weights and activations.

    :param subset_size: calibration texts.
    :param preset: `mixed` keeps activations asymmetric, which transformers need; `performance`
        makes all symmetric.
    :param smooth_quant_alpha: how much of the activations' range SmoothQuant moves into the
        weights, in [0, 1]; -1 switches it off.
    :param embeddings: store embedding tables in INT8 too, one scale a row.
    :param seed: of the calibration subset.
    """

    subset_size: Positive = 300
    preset: Literal["mixed", "performance"] = "mixed"
    smooth_quant_alpha: float = 0.95
    embeddings: bool = True
    seed: int = 20261122

    def __post_init__(self) -> None:
        check_fields(self, QuantizationError)
        _check_alpha("smooth_quant_alpha", self.smooth_quant_alpha)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def _check_alpha(name: str, value: float) -> None:
    if value != -1 and not 0 <= value <= 1:
        raise QuantizationError(f"{name} must be in [0, 1] or -1, not {value}")


@dataclass(frozen=True)
class AlphaSearch:
    """A search for the SmoothQuant alpha that changes the model least.

    :param alphas: candidates, each in [0, 1] or -1 for none.
    :param rows: texts of the calibration part, other than the calibration subset, on which the
        mean absolute difference of probabilities to the fp32 model is measured.
    """

    alphas: Annotated[tuple[float, ...], Meta(min_length=1)] = (-1.0, 0.5, 0.65, 0.8, 0.95)
    rows: Positive = 400

    def __post_init__(self) -> None:
        check_fields(self, QuantizationError)
        for alpha in self.alphas:
            _check_alpha("alphas", alpha)


@dataclass(frozen=True)
class AccuracyControl:
    """NNCF's algorithm that returns operations to float until the metric is back.

    :param max_drop: weighted F1 that may be lost, absolute.
    :param ranking_subset_size: texts on which operations are ranked by how much they change.
    :param validation_rows: texts of the thresholds part that the metric is taken on, at most.
    :param max_iterations: operations returned to float at most.
    :param restore: `activations` computes an operation in float with its INT8 weights; `all` puts
        its float weights back too, which cannot be combined with SmoothQuant: NNCF puts back those
        of before it, and the model would be wrong.
    """

    # A negative drop asks for a gain, which can make NNCF try every operation: a test's wish.
    max_drop: Annotated[float, Meta(gt=-1, lt=1)] = 0.003
    ranking_subset_size: Positive = 300
    validation_rows: Positive = 2000
    max_iterations: Positive = 100
    restore: Literal["activations", "all"] = "activations"

    def __post_init__(self) -> None:
        check_fields(self, QuantizationError)


@dataclass(frozen=True)
class Compression:
    """Weights stored small and multiplied in float: nothing is calibrated.

    :param mode: integer type, symmetric or with a zero point.
    :param ratio: share of the matrices in 4 bits, the rest in 8; 1 for the 8-bit modes.
    :param group_size: weights along a row that share a scale; -1 for the whole row. Made smaller
        where a row does not divide by it.
    """

    mode: CompressionMode = "int8_asym"
    ratio: Annotated[float, Meta(ge=0, le=1)] = 1.0
    group_size: int = -1

    def __post_init__(self) -> None:
        check_fields(self, QuantizationError)
        if self.group_size != -1 and self.group_size < 1:
            raise QuantizationError(f"group_size must be -1 or above 0, not {self.group_size}")
        if self.mode.startswith("int8") and (self.ratio, self.group_size) != (1.0, -1):
            raise QuantizationError("ratio and group_size are for the int4 modes")


@dataclass(frozen=True)
class Recipe:
    """What is done to a model.

    :param name: of its file, without the ending.
    :param description: what it does to a model, in a sentence or two.
    :param weights: what the weights are stored in afterwards.
    :param ptq: how weights and activations are quantized.
    :param search: makes the alpha of `ptq` be searched.
    :param accuracy_control: returns operations to float after `ptq`.
    :param compression: how weights alone are made small.
    """

    name: str
    description: str
    weights: Weights
    ptq: PtqConfig | None = None
    search: AlphaSearch | None = None
    accuracy_control: AccuracyControl | None = None
    compression: Compression | None = None

    def __post_init__(self) -> None:
        check_fields(self, QuantizationError)
        tables = [n for n in ("ptq", "compression") if getattr(self, n) is not None]
        quantized = self.weights.startswith("int")
        if quantized and len(tables) != 1:
            raise QuantizationError(f"{self.weights} needs one of the tables ptq and compression")
        if not quantized and tables:
            raise QuantizationError(f"{self.weights} takes no table {tables[0]}")
        for table in ("search", "accuracy_control"):
            if getattr(self, table) is not None and self.ptq is None:
                raise QuantizationError(f"the table {table} needs the table ptq")
        if self.search and self.accuracy_control:
            raise QuantizationError("search and accuracy_control cannot be combined")
        smooth = self.ptq is not None and self.ptq.smooth_quant_alpha != -1
        if smooth and self.accuracy_control and self.accuracy_control.restore == "all":
            raise QuantizationError('restore = "all" needs smooth_quant_alpha = -1')
        stored = self.compression.mode[:4] if self.compression else "int8"
        if quantized and stored != self.weights:
            raise QuantizationError(f"weights says {self.weights}, but the tables make {stored}")

    def to_dict(self) -> dict[str, Any]:
        """Leave out the tables that are not there."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def recipe_folder() -> Path:
    """Locate the recipes: beside this file where installed, in the repository otherwise."""
    installed = Path(__file__).parent / "recipes"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "quantize" / "recipes"


def recipe_names() -> tuple[str, ...]:
    """Name the recipes that come with the library, in alphabetical order."""
    return tuple(sorted(path.stem for path in recipe_folder().glob("*.toml")))


def load_recipe(source: str) -> Recipe:
    """Read a recipe by the name of one that comes with the library, or from a TOML file.

    :raises QuantizationError: if there is none, or something in it is wrong.
    """
    path = Path(source)
    if path.suffix != ".toml":
        path = recipe_folder() / f"{source}.toml"
        if source not in recipe_names():
            raise QuantizationError(
                f"there is no recipe {source!r}; choose one of {', '.join(recipe_names())}, "
                "or give a .toml file"
            )
    table = read_toml(path, dict[str, Any], QuantizationError)
    if "name" in table:
        raise QuantizationError(f"{path}: name is not written inside; it is the file's")
    named = {"name": path.stem, **table}
    return from_builtins(named, Recipe, str(path), QuantizationError)


def with_subset_size(recipe: Recipe, texts: int) -> Recipe:
    """Have a recipe calibrate on another number of texts.

    :raises QuantizationError: if it does not calibrate.
    """
    if recipe.ptq is None:
        raise QuantizationError(f"{recipe.name} does not calibrate, so subset_size says nothing")
    return replace(recipe, ptq=replace(recipe.ptq, subset_size=texts))
