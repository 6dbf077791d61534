from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from ov_emotions.bundle import Bundle, write_bundle
from ov_emotions.encoding import EncodedBatch
from ov_emotions.errors import BundleIntegrityError, BundleSchemaError, DeviceError
from ov_emotions.manifest import Manifest
from ov_emotions.runtime.openvino import OpenVINOBackend


@pytest.fixture(scope="module")
def backend(tiny_bundle: Bundle) -> OpenVINOBackend:
    return OpenVINOBackend(tiny_bundle, threads=1)


def batch(rows: int, tokens: int, seed: int = 0) -> EncodedBatch:
    ids = np.random.default_rng(seed).integers(1, 30, (rows, tokens))
    return EncodedBatch(ids, np.ones_like(ids))


def batches(count: int) -> list[EncodedBatch]:
    return [batch(1 + i % 3, 2 + i % 7, seed=i) for i in range(count)]


def test_padding_is_masked(backend: OpenVINOBackend) -> None:
    ids = np.array([[5, 6, 0, 0]])
    padded = EncodedBatch(ids, (ids > 0).astype(np.int64))
    plain = EncodedBatch(ids[:, :2], np.ones((1, 2), dtype=np.int64))
    np.testing.assert_allclose(backend.infer([padded])[0], backend.infer([plain])[0], atol=1e-6)


def test_results_outlive_the_next_call(backend: OpenVINOBackend) -> None:
    (first,) = backend.infer([batch(2, 3, seed=1)])
    kept = first.copy()
    backend.infer(batches(10))
    np.testing.assert_array_equal(first, kept)


def test_calls_from_many_threads_neither_mix_nor_deadlock(tiny_bundle: Bundle) -> None:
    backend = OpenVINOBackend(tiny_bundle, threads=2, streams=2)
    given = [batches(12)[i:] for i in range(6)]
    expected = [backend.infer(part) for part in given]
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(backend.infer, given[i % 6]) for i in range(60)]
        for i, call in enumerate(calls):
            for one, other in zip(call.result(timeout=60), expected[i % 6], strict=True):
                np.testing.assert_array_equal(one, other)


def test_a_failing_call_gives_its_requests_back(backend: OpenVINOBackend) -> None:
    def broken() -> Iterator[EncodedBatch]:
        yield batch(1, 3)
        raise ZeroDivisionError

    for _ in range(10):
        with pytest.raises(ZeroDivisionError):
            backend.infer(broken())
    bad = EncodedBatch(np.full((1, 2), 1), np.ones((1, 3), dtype=np.int64))
    for _ in range(10):
        with pytest.raises(DeviceError, match="OpenVINO failed on a batch"):
            backend.infer([batch(1, 3), bad])
    assert len(backend.infer(batches(5))) == 5


def test_a_closed_backend_refuses_and_wakes_who_waits(tiny_bundle: Bundle) -> None:
    backend = OpenVINOBackend(tiny_bundle, threads=1)
    held = threading.Event()
    release = threading.Event()

    def slow() -> Iterator[EncodedBatch]:
        yield from batches(4)
        held.set()
        release.wait(30)
        yield batch(1, 2)

    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(backend.infer, slow())
        assert held.wait(30)
        waiting = pool.submit(backend.infer, batches(3))
        backend.close()
        with pytest.raises(DeviceError, match="closed"):
            backend.infer([batch(1, 2)])
        # It may have taken a request before all were gone; it must end either way.
        assert isinstance(waiting.exception(timeout=30), DeviceError | None)
        release.set()
        assert len(running.result(timeout=30)) == 5
    backend.close()
    with pytest.raises(DeviceError, match="closed"):
        backend.infer(batches(2))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"device": "QPU"}, r"'QPU'.*devices here: .*CPU"),
        ({"precision": "i3"}, "'INFERENCE_PRECISION_HINT': 'i3'"),
    ],
)
def test_a_refused_device_or_precision_is_a_device_error(
    tiny_bundle: Bundle, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(DeviceError, match=problem) as raised:
        OpenVINOBackend(tiny_bundle, **options)
    assert "\n" not in str(raised.value)


def test_the_manifest_says_the_precision_unless_the_caller_does(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []
    compile_model = ov.Core.compile_model

    def spy(self: ov.Core, model: object, device: str, config: dict[str, object]) -> object:
        asked.append(config)
        return compile_model(self, model, device, config)

    monkeypatch.setattr(ov.Core, "compile_model", spy)
    manifest = tiny_bundle.manifest.replace(inference_precision="bf16")
    OpenVINOBackend(Bundle(tiny_bundle.folder, manifest))
    OpenVINOBackend(Bundle(tiny_bundle.folder, manifest), precision="f32", threads=1, streams=1)
    assert asked[0] == {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": "LATENCY"}
    assert asked[1] == {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
    }


def test_a_model_with_other_ports_is_refused(
    tmp_path: Path,
    tiny_manifest: Manifest,
    tiny_tokenizer_json: str,
    build_tiny_model: Callable[..., ov.Model],
) -> None:
    narrow = build_tiny_model(outputs=2)
    bundle = write_bundle(tmp_path / "narrow", tiny_manifest, narrow, tiny_tokenizer_json)
    with pytest.raises(BundleSchemaError, match=r"model\.xml has 2 outputs.* 3 labels"):
        OpenVINOBackend(bundle)
    port = ops.parameter([-1, 3], np.float32, name="x")
    port.output(0).set_names({"x"})
    foreign = ov.Model([ops.result(ops.relu(port))], [port], "foreign")
    bundle = write_bundle(tmp_path / "foreign", tiny_manifest, foreign, tiny_tokenizer_json)
    with pytest.raises(BundleSchemaError, match=r"model\.xml takes \['x'\]"):
        OpenVINOBackend(bundle)


def test_a_model_that_openvino_cannot_read_names_the_file(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    tiny_bundle.save(tmp_path / "b")
    bundle = Bundle(tmp_path / "b", tiny_bundle.manifest)
    bundle.model_path.write_text("<net/>")
    with pytest.raises(BundleIntegrityError, match=r"model\.xml is not a model that OpenVINO"):
        OpenVINOBackend(bundle)
