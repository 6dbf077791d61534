"""A compiled model of OpenVINO and a pool of asynchronous requests."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.encoding import EncodedBatch
from ov_emotions.errors import BundleIntegrityError, BundleSchemaError, DeviceError
from ov_emotions.manifest import MODEL_INPUTS
from ov_emotions.process import NATIVE, forked, forked_while_busy, warm_bindings, watch
from ov_emotions.runtime.cache import compile_cached
from ov_emotions.system import import_openvino, shared_core

if TYPE_CHECKING:
    from ov_emotions.runtime.packing import PackedBatch

    Batch = EncodedBatch | PackedBatch

_LOGGER = logging.getLogger(__name__)

_PACKED_INPUTS = frozenset({*MODEL_INPUTS, "positions", "segments", "places"})
_OUTPUT = "logits"


@dataclass(frozen=True)
class LayerCounter:
    """One layer of a compiled model, and its seconds in all inferences together."""

    name: str
    kind: str
    implementation: str
    seconds: float


class OpenVINOBackend:
    """A bundle's model, compiled for a device; safe to use from several threads at once.

    The options are those of `EmotionClassifier`; of threads and streams, `None` leaves them to
    OpenVINO, which takes all cores for one inference. In a forked child, whatever is asked for runs
    in the calling thread.

    :param shape: rows and tokens of every batch; `None` is any.
    :param packed: take rows of several texts, `PackedBatch`.
    :raises DeviceError: if there is no such device, or it refuses an option.
    :raises UnpackableError: if the graph is of a kind that cannot be packed.
    :raises BundleError: if OpenVINO cannot read the model, or it has other inputs or outputs.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str = "CPU",
        threads: int | None = None,
        streams: int | None = None,
        precision: str | None = None,
        cache_dir: Path | None = None,
        mmap: bool = True,
        shape: tuple[int, int] | None = None,
        packed: bool = False,
    ) -> None:
        self._bundle, self._device = bundle, device
        self._shape, self.packed = shape, packed
        self._reading: dict[str, Any] = {} if mmap else {"ENABLE_MMAP": False}
        self._config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision or bundle.manifest.inference_precision,
            **_layout(device, threads, streams),
            **self._reading,
        }
        self._inputs = _PACKED_INPUTS if packed else frozenset(bundle.manifest.inputs)
        self._usual = packed or self._inputs == frozenset(MODEL_INPUTS)
        self._process = os.getpid()
        self._closed = False
        self._free: LifoQueue[Any] = LifoQueue()
        with NATIVE:
            warm_bindings()
            self._compiled = self._through_cache(cache_dir)
            _check_signature(bundle, self._compiled, self._inputs)
            # One request more than can run, so that the next batch waits ready beside the device.
            count = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")) + 1
            self._requests = [self._compiled.create_infer_request() for _ in range(count)]
        for request in self._requests:
            self._free.put(request)
        watch(self)
        _LOGGER.debug("compiled %s for %s: %s", bundle.manifest.name, device, self._config)

    def infer(self, batches: Iterable[Batch]) -> list[NDArray[np.float32]]:
        """Run the model on batches, as many at a time as the pool allows.

        :param batches: read lazily, one whenever a request is free for it.
        :return: per batch, in the order given, the logits: float32, shape (batch, labels).
        :raises DeviceError: if the runtime fails, or was closed.
        """
        if os.getpid() != self._process:
            raise DeviceError(
                "this model was opened before the process was forked, and the threads that run it "
                "are not here; open it in the process that uses it"
            )
        pending: deque[Any] = deque()
        logits: list[NDArray[np.float32]] = []
        with NATIVE:
            try:
                for batch in batches:
                    if NATIVE.shut:  # by a fork, or by the end of the process
                        self._collect(pending, logits)
                        NATIVE.rest()
                    if (request := self._take(wait=not pending)) is None:
                        # To wait for another call's request while holding our own could deadlock
                        # two calls; our own oldest always comes back.
                        logits.append(_result(pending[0]))
                        request = pending.popleft()
                    pending.append(request)
                    request.start_async(self._arrays(batch), share_inputs=True)
                self._collect(pending, logits)
            except RuntimeError as error:
                raise DeviceError(f"OpenVINO failed on a batch: {_reason(error)}") from error
            finally:
                # Only after an error: the requests must be idle before another call takes them.
                for request in pending:
                    _settle(request)
                    self._free.put(request)
        return logits

    def count_layers(self, batches: Sequence[Batch]) -> list[LayerCounter]:
        """Run a copy of the model that counts, which this one does not.

        :param batches: run twice, one at a time; the second pass is what counts.
        :return: a counter a layer that was executed.
        """
        passes = []
        with NATIVE:
            request = self._compile({"PERF_COUNT": True}).create_infer_request()
            for _ in range(2):
                try:
                    for batch in batches:
                        request.infer(self._arrays(batch), share_inputs=True)
                except RuntimeError as error:
                    raise DeviceError(f"OpenVINO failed on a batch: {_reason(error)}") from error
                passes.append({info.node_name: info for info in request.get_profiling_info()})
        first, both = passes
        # A counter holds the mean over all inferences since it was made.
        return [
            LayerCounter(
                name,
                info.node_type,
                info.exec_type,
                len(batches) * max(0.0, 2 * _seconds(info) - _seconds(first.get(name))),
            )
            for name, info in both.items()
            if info.status == info.Status.EXECUTED
        ]

    def close(self) -> None:
        """Let go of the model; what is under way in other threads finishes first."""
        self._closed = True
        if os.getpid() != self._process:
            return
        while self._take(wait=False) is not None:
            pass
        self._requests, self._compiled = [], None
        # Wakes a call that waits for a request, and every one after it.
        self._free.put(None)

    def native_objects(self) -> list[object]:
        return [self._compiled, *self._requests]

    def _arrays(self, batch: Batch) -> dict[str, NDArray[np.generic]]:
        """Give what the model takes: fewer arrays than usual, or types of tokens, all 0."""
        arrays = batch.inputs()
        if self._usual:
            return arrays
        arrays["token_type_ids"] = np.zeros_like(arrays["input_ids"])
        return {name: arrays[name] for name in self._inputs}

    def _collect(self, pending: deque[Any], logits: list[NDArray[np.float32]]) -> None:
        while pending:
            logits.append(_result(pending[0]))
            self._free.put(pending.popleft())

    def _through_cache(self, cache_dir: Path | None) -> Any:
        if cache_dir is None:
            return self._compile({})
        changes = {k: v for k, v in (("shape", self._shape), ("packed", self.packed)) if v}
        return compile_cached(
            cache_dir,
            self._bundle.manifest,
            (import_openvino().__version__, self._device, self._config | changes),
            lambda folder: self._compile({"CACHE_DIR": folder} if folder else {}),
        )

    def _compile(self, options: dict[str, Any]) -> Any:
        """Read the model, change its graph as was asked for, and compile it."""
        if forked_while_busy():
            raise DeviceError(
                "this process was forked while another thread ran a model, which leaves locks "
                "behind that nobody opens; start processes with spawn, or fork before that thread "
                "begins"
            )
        if forked() and self._device != "CPU":
            raise DeviceError(
                f"device {self._device!r} cannot be used in a forked process; start processes with "
                "spawn, or use the CPU"
            )
        core, config = shared_core(), self._config | options
        path, manifest = self._bundle.model_path, self._bundle.manifest
        try:
            if not (self.packed or self._shape):
                return core.compile_model(str(path), self._device, config)
            model = core.read_model(path, config=self._reading)
            if self.packed:
                from ov_emotions.runtime.packed_graph import pack_graph  # only lists need it

                model = pack_graph(model, manifest.max_length)
            else:
                shape = list(self._shape or ())
                model.reshape({port.get_any_name(): shape for port in model.inputs})
            return core.compile_model(model, self._device, config)
        except (RuntimeError, TypeError) as error:
            try:
                core.read_model(path)
            except RuntimeError as unreadable:
                raise BundleIntegrityError(
                    f"{path} is not a model that OpenVINO {import_openvino().__version__} reads: "
                    f"{_reason(unreadable)}"
                ) from unreadable
            raise DeviceError(
                f"OpenVINO does not compile {manifest.name} for device {self._device!r} with "
                f"{config}: {_reason(error)}; devices here: {', '.join(core.available_devices)}"
            ) from error

    def _take(self, *, wait: bool) -> Any:
        """Check out a request; None if none is free and the caller does not want to wait."""
        try:
            request = None if wait and self._closed else self._free.get(block=wait)
        except Empty:
            return None
        if request is None:
            self._free.put(None)
            if wait:
                raise DeviceError("this classifier was closed; make a new one")
        return request


def _layout(device: str, threads: int | None, streams: int | None) -> dict[str, Any]:
    """Give OpenVINO's options for threads and streams."""
    if forked() and device == "CPU":
        return {"NUM_STREAMS": 0}
    config: dict[str, Any] = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
    if streams is None:
        return config | {"PERFORMANCE_HINT": "LATENCY"}
    return config | {"NUM_STREAMS": streams}


def _seconds(info: Any) -> float:
    return 0.0 if info is None else float(info.real_time.total_seconds())


def _result(request: Any) -> NDArray[np.float32]:
    request.wait()
    # The request's own memory is overwritten by its next batch.
    return np.array(request.get_tensor(_OUTPUT).data, dtype=np.float32)


def _settle(request: Any) -> None:
    try:
        request.wait()
    except RuntimeError as error:  # a failure already told, or one of a batch nobody waits for
        _LOGGER.debug("an abandoned batch failed: %s", _reason(error))


def _check_signature(bundle: Bundle, compiled: Any, expected: frozenset[str]) -> None:
    inputs = {name for port in compiled.inputs for name in port.get_names()}
    outputs = {name for port in compiled.outputs for name in port.get_names()}
    if len(compiled.inputs) != len(expected) or not inputs >= expected or _OUTPUT not in outputs:
        raise BundleSchemaError(
            f"{bundle.model_path} takes {sorted(inputs)} and gives {sorted(outputs)}; a bundle's "
            f"model takes {sorted(expected)} and gives {_OUTPUT}"
        )
    width = compiled.output(_OUTPUT).get_partial_shape()[-1]
    labels = len(bundle.manifest.labels)
    if width.is_static and width.get_length() != labels:
        raise BundleSchemaError(
            f"{bundle.model_path} has {width.get_length()} outputs, but the manifest has {labels} "
            "labels"
        )


def _reason(error: BaseException) -> str:
    """Find the sentence in an OpenVINO message, which starts with the places it passed."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return told[-1] if told else type(error).__name__
