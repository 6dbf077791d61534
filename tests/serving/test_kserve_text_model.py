"""The client against the very IRs that `ov-emotions ovms build` publishes, run in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import openvino as ov
import pytest
from fake_kserve import FAST, ServedBundle, grpc_server, http_server

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle
from ov_emotions.errors import ServerMismatchError
from ov_emotions.serving.text_model import TextModelConfig, build_text_model
from ov_emotions.system import shared_core

pytest.importorskip("tritonclient", reason="the extra serving is not installed")

TEXTS = ["какая радость", "злость", "", "слово я рад", "?!", "чёрт", "слово " * 40]


class ServedIr(ServedBundle):
    """A published IR, with the facts that Model Server reads out of it."""

    def __init__(self, bundle: Bundle, config: TextModelConfig) -> None:
        super().__init__(bundle, takes="tokens" if config.token_in else "text")
        model = build_text_model(bundle, config)
        info = model.get_rt_info(["model_info"]).value
        self.facts = {key: model.get_rt_info(["model_info", key]).value for key in info}
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        self._compiled = shared_core().compile_model(model, "CPU", settings)

    def scores(self, tensors: Mapping[str, Any]) -> np.ndarray:
        inputs: dict[str, Any] = dict(tensors)
        if self.takes == "text":
            inputs = {"text": ov.Tensor(np.array([t.decode() for t in tensors["text"]]))}
        found: np.ndarray = self._compiled(inputs)["probabilities"]
        return found


@pytest.fixture(params=[False, True], ids=["text", "tokens"])
def served_ir(request: pytest.FixtureRequest, tiny_bundle: Bundle) -> ServedIr:
    return ServedIr(tiny_bundle, TextModelConfig(token_in=request.param))


@pytest.fixture
def urls(served_ir: ServedIr) -> Iterator[dict[str, str]]:
    with http_server(served_ir.rest) as (rest, _), grpc_server(served_ir.grpc) as (grpc, _):
        yield {
            "http": f"http://127.0.0.1:{rest}/emotions",
            "grpc": f"grpc://127.0.0.1:{grpc}/emotions",
        }


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_published_model_gives_what_the_process_gives(
    urls: dict[str, str], tiny_bundle: Bundle, protocol: str
) -> None:
    local = EmotionClassifier(tiny_bundle, threads=1, long_texts="truncate")
    with EmotionClassifier.from_server(
        urls[protocol],
        model=tiny_bundle,
        metadata_url=urls["http"],
        long_texts="truncate",
        options=FAST,
    ) as remote:
        np.testing.assert_allclose(
            remote.predict_proba(TEXTS), local.predict_proba(TEXTS), rtol=0, atol=1e-5
        )
        assert [f.labels for f in remote(TEXTS)] == [f.labels for f in local(TEXTS)]
        assert [f.truncated for f in remote(TEXTS)] == [f.truncated for f in local(TEXTS)]


def test_its_manifest_is_what_is_compared(
    served_ir: ServedIr, urls: dict[str, str], tiny_bundle: Bundle
) -> None:
    assert "manifest" in served_ir.facts
    manifest = served_ir.facts["manifest"]
    served_ir.facts["manifest"] = manifest.replace('"seed":1', '"seed":2')
    with pytest.raises(ServerMismatchError, match="altered after it was written"):
        EmotionClassifier.from_server(urls["http"], model=tiny_bundle, options=FAST)
