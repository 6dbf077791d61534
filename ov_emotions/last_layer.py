"""A bundle's last layer: found in its IR, fitted to other labels, put back.

From a text's vector to its logits every IR is one product with a constant, and what is added to it.
The vectors are read out of the IR itself, so that a new last layer needs neither torch nor the
checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.encoding import TextEncoder
from ov_emotions.errors import DeviceError, ExportError
from ov_emotions.process import NATIVE
from ov_emotions.progress import Progress, Tell
from ov_emotions.runtime.models import default_batch_tokens, in_order
from ov_emotions.schema import Task
from ov_emotions.system import cpu_budget, import_openvino, shared_core
from ov_emotions.thresholds import replace_logits

if TYPE_CHECKING:
    import openvino as ov

Array = NDArray[np.float64]

STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
"""Of the pull towards the layer that a fit starts from; beside a loss that is a mean over texts,
and numbers of a text's vector that vary by 1."""

_BIAS_STRENGTH = 1e-3
"""Next to none: how often a label is there is learned from few rows. It keeps a label that never
is from running away."""


@dataclass(frozen=True)
class LastLayer:
    """What makes logits of a text's vector.

    :param weights: float64, shape (labels, numbers).
    :param bias: float64, shape (labels,); as a start of a fit, NaN takes how often the label is
        there.
    """

    weights: Array
    bias: Array

    def logits(self, vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Take vectors, shape (windows, numbers); give float32, shape (windows, labels)."""
        found: NDArray[np.float32] = (vectors @ self.weights.T + self.bias).astype(np.float32)
        return found

    def select(self, places: Sequence[int | None]) -> LastLayer:
        """Give a layer of the labels at some places; a new one, None, starts from nothing."""
        weights = np.zeros((len(places), self.weights.shape[1]))
        bias = np.full(len(places), np.nan)
        for i, place in enumerate(places):
            if place is not None:
                weights[i], bias[i] = self.weights[place], self.bias[place]
        return LastLayer(weights, bias)


@dataclass(frozen=True)
class Vectors:
    """What a model makes of texts before its last layer; every text has a window at least.

    :param windows: float32, shape (windows, numbers).
    :param logits: float32, shape (windows, labels), as the model itself gives them.
    :param firsts: int64, shape (texts,): the first window of each text.
    """

    windows: NDArray[np.float32]
    logits: NDArray[np.float32]
    firsts: NDArray[np.int64]

    def join(self, logits: NDArray[np.float32], task: Task) -> NDArray[np.float32]:
        """Make logits of texts from those of their windows, as the classifier does."""
        if task == "multi_label":
            highest: NDArray[np.float32] = np.maximum.reduceat(logits, self.firsts, axis=0)
            return highest
        return self._means(logits)

    def of_texts(self) -> Array:
        """Give one vector a text, the mean of its windows: float64, shape (texts, numbers)."""
        return self._means(self.windows).astype(np.float64)

    def _means(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        counts = np.diff(self.firsts, append=len(values))[:, None]
        means = np.add.reduceat(values, self.firsts, axis=0) / counts
        return np.asarray(means, dtype=np.float32)

    def select(self, texts: NDArray[np.int64]) -> Vectors:
        """Give the texts at some positions, in that order."""
        counts = np.diff(self.firsts, append=len(self.windows))[texts]
        starts = np.cumsum(counts) - counts
        rows = np.arange(counts.sum()) + np.repeat(self.firsts[texts] - starts, counts)
        return Vectors(self.windows[rows], self.logits[rows], starts)


def find_last_layer(model: ov.Model) -> tuple[ov.Output, LastLayer]:
    """Walk back from the logits to the vectors that they are made of.

    An INT8 layer rounds the vectors first, on a scale that fits the old weights; the vectors are
    taken before that, and what they were multiplied by is put into the weights.

    :raises ExportError: if logits are made of vectors in another way.
    """
    source = model.output("logits").get_node().input_value(0)
    scale, shift = np.ones(1), np.zeros(1)
    while (kind := source.get_node().get_type_name()) != "MatMul":
        node = source.get_node()
        found = _constant_side(node)
        if found is None or (kind in ("Subtract", "Divide") and found[0] != 1):
            raise ExportError(
                f"the logits come out of {kind}, and a last layer is known only where they are a "
                "product with constant weights, and a constant added to it"
            )
        side, constant = found
        if kind in ("Add", "Subtract"):
            shift = shift + scale * (constant if kind == "Add" else -constant)
        else:
            scale = scale * (constant if kind == "Multiply" else 1 / constant)
        source = node.input_value(1 - side)
    product = source.get_node()
    weights = _constant(product.input_value(1))
    turned = product.get_attributes()
    vectors = product.input_value(0)
    if weights is None or weights.ndim != 2 or turned["transpose_a"]:
        raise ExportError("the last product of the model is not one with constant weights")
    weights = weights if turned["transpose_b"] else weights.T
    if vectors.get_node().get_type_name() == "FakeQuantize":
        vectors = vectors.get_node().input_value(0)
        while vectors.get_node().get_type_name() == "Multiply":
            found = _constant_side(vectors.get_node())
            if found is None:
                break
            weights = weights * found[1]
            vectors = vectors.get_node().input_value(1 - found[0])
    shape = vectors.get_partial_shape()
    if shape.rank.get_length() != 2 or shape[1].get_length() != weights.shape[1]:
        raise ExportError(f"the last layer takes vectors of the shape {shape}, not one a text")
    labels = len(weights)
    return vectors, LastLayer(
        weights * np.broadcast_to(scale, labels)[:, None], np.broadcast_to(shift, labels).copy()
    )


def _constant_side(node: Any) -> tuple[int, Array] | None:
    """Find the side of a sum or product that is constant, and the constant, flat."""
    if node.get_type_name() not in ("Add", "Subtract", "Multiply", "Divide"):
        return None
    for side in (1, 0):
        constant = _constant(node.input_value(side))
        if constant is not None:
            return side, constant.reshape(-1)
    return None


def _constant(source: Any) -> Array | None:
    """Compute what does not depend on any input; None for what does."""
    ov = import_openvino()
    node = source.get_node()
    if node.get_type_name() == "Constant":
        return np.array(node.get_data(), dtype=np.float64)
    try:
        alone = ov.Model([source], [], "constant")
    except RuntimeError:  # it refers to an input
        return None
    with NATIVE:
        compiled = shared_core().compile_model(alone, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return np.array(compiled([])[0], dtype=np.float64)


def replace_last_layer(model: ov.Model, layer: LastLayer) -> None:
    """Put another last layer into an IR, in float: it is small, whatever the rest is held in."""
    ops = import_openvino().opset13
    vectors, _ = find_last_layer(model)
    product = ops.matmul(vectors, ops.constant(layer.weights.astype(np.float32)), False, True)
    added = ops.add(product, ops.constant(layer.bias[None].astype(np.float32)))
    replace_logits(model, added, "adapted_last_layer")


def read_vectors(
    bundle: Bundle, texts: Sequence[str], tell: Tell | None = None
) -> tuple[LastLayer, Vectors, NDArray[np.int64]]:
    """Run a model up to its last layer.

    :return: the layer; the vectors; and int64, the positions of the texts that have any: one of
        which the tokeniser makes nothing never reaches a model.
    :raises ExportError: if the model has no last layer of a known kind.
    :raises DeviceError: if the runtime fails.
    """
    ov = import_openvino()
    model = shared_core().read_model(bundle.model_path)
    place, layer = find_last_layer(model)
    logits = model.output("logits").get_node().input_value(0)
    both = ov.Model([place, logits], model.get_parameters(), "vectors")
    encoded = TextEncoder(bundle.tokenizer(), bundle.manifest.max_length).encode(texts)
    hint = {"INFERENCE_PRECISION_HINT": bundle.manifest.inference_precision}
    groups = encoded.groups(default_batch_tokens(cpu_budget().cores))
    parts: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    done = 0
    try:
        with NATIVE:
            request = shared_core().compile_model(both, "CPU", hint).create_infer_request()
        for rows, batch in zip(groups, encoded.batches(groups), strict=True):
            inputs = batch.inputs()
            if "token_type_ids" in bundle.manifest.inputs:
                inputs = {**inputs, "token_type_ids": np.zeros_like(batch.input_ids)}
            wanted = {name: inputs[name] for name in bundle.manifest.inputs}
            with NATIVE:
                found = request.infer(wanted)
            parts.append((np.array(found[0]), np.array(found[1])))
            done += len(rows)
            if tell is not None:
                tell(Progress(done, len(encoded.lengths), "windows", "read vectors"))
    except RuntimeError as error:
        raise DeviceError(f"OpenVINO cannot run {bundle.model_path}: {error}") from error
    if not parts:
        nothing = np.empty((0, layer.weights.shape[1]), np.float32)
        return layer, Vectors(nothing, nothing, np.empty(0, np.int64)), np.empty(0, np.int64)
    windows, given = (in_order(groups, [part[i] for part in parts]) for i in (0, 1))
    firsts = np.flatnonzero(np.diff(encoded.owners, prepend=-1))
    return layer, Vectors(windows, given, firsts), encoded.owners[firsts]


def text_losses(logits: NDArray[np.floating[Any]], targets: NDArray[np.int8], task: Task) -> Array:
    """Give the log-loss of each text over what is known of it, in nats: float64, shape (texts,).

    `logits` have the shape (texts, labels), and `targets`, int8, too: 1, 0 or -1 for unknown; a
    row of a single-label model has one 1.
    """
    return _loss(logits.astype(np.float64), targets, task)[0]


def _loss(logits: Array, targets: NDArray[np.int8], task: Task) -> tuple[Array, Array]:
    """Give each text's loss, and its derivative by the logits."""
    present, known = targets == 1, targets >= 0
    if task == "multi_label":
        losses = np.where(known, np.logaddexp(0, logits) - logits * present, 0).sum(axis=1)
        return losses, np.where(known, 0.5 + 0.5 * np.tanh(0.5 * logits) - present, 0)
    lifted = logits - logits.max(axis=1, keepdims=True)
    powers = np.exp(lifted)
    sums = powers.sum(axis=1, keepdims=True)
    losses = np.log(sums[:, 0]) - (lifted * present).sum(axis=1)
    return losses, powers / sums - present


def fit_layers(
    vectors: Array,
    targets: NDArray[np.int8],
    start: LastLayer,
    task: Task,
    strengths: Sequence[float] = STRENGTHS,
) -> list[LastLayer]:
    """Fit a layer by regularised logistic regression, from the strongest pull to the weakest.

    :param vectors: float64, shape (texts, numbers).
    :param targets: int8, shape (texts, labels): 1, 0 or -1 for unknown, which has no loss.
    :param start: what the fit is pulled towards.
    :param strengths: of the pull, falling: each fit starts from the one before.
    """
    rows = len(vectors)
    mean, spread = vectors.mean(axis=0), vectors.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    scaled = (vectors - mean) / spread
    known = (targets >= 0).sum(axis=0)
    often = ((targets == 1).sum(axis=0) + 0.5) / (known + 1)
    usual = np.log(often / (1 - often)) if task == "multi_label" else np.log(often)
    bias = np.where(np.isnan(start.bias), usual, start.bias + start.weights @ mean)
    # One column more for the bias, which has a pull of its own.
    goal = np.concatenate([start.weights * spread, bias[:, None]], axis=1)
    scaled = np.concatenate([scaled, np.ones((rows, 1))], axis=1)
    layers, place = [], goal.copy()
    for strength in strengths:
        pull = np.full(goal.shape[1], strength)
        pull[-1] = _BIAS_STRENGTH

        def objective(flat: Array, pull: Array = pull) -> tuple[float, Array]:
            weights = flat.reshape(goal.shape)
            losses, slope = _loss(scaled @ weights.T, targets, task)
            away = weights - goal
            value = losses.sum() / rows + 0.5 * float((pull * away**2).sum())
            return float(value), (slope.T @ scaled / rows + pull * away).ravel()

        place = _minimise(objective, place.ravel()).reshape(goal.shape)
        weights = place[:, :-1] / spread
        layers.append(LastLayer(weights, place[:, -1] - weights @ mean))
    return layers


def _minimise(
    objective: Callable[[Array], tuple[float, Array]], start: Array, steps: int = 100
) -> Array:
    """Find the least value of a smooth convex function by L-BFGS (Nocedal and Wright, 7.4)."""
    place = start
    value, slope = objective(place)
    history: list[tuple[Array, Array, float]] = []
    for _ in range(steps):
        direction = -slope
        shares = []
        for moved, bent, curvature in reversed(history):
            share = float(moved @ direction) / curvature
            shares.append(share)
            direction = direction - share * bent
        if history:
            moved, bent, curvature = history[-1]
            direction = direction * (curvature / float(bent @ bent))
        for (moved, bent, curvature), share in zip(history, reversed(shares), strict=True):
            direction = direction + (share - float(bent @ direction) / curvature) * moved
        fall = float(slope @ direction)
        if fall > -1e-12:
            break
        step = 1.0 if history else min(1.0, 1 / float(np.linalg.norm(slope)))
        for _ in range(30):
            further, steeper = objective(place + step * direction)
            if further <= value + 1e-4 * step * fall:
                break
            step /= 2
        else:
            break
        moved, bent = step * direction, steeper - slope
        curvature = float(moved @ bent)
        if curvature > 1e-12:
            history = [*history[-9:], (moved, bent, curvature)]
        gained = value - further
        place, value, slope = place + moved, further, steeper
        if gained <= 1e-6 * max(abs(value), 1e-3):
            break
    return place
