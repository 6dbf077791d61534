from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.errors import InputError, ServerError
from ov_emotions.evaluation.run import evaluate_source, open_source
from ov_emotions.labels import LabelSet


@pytest.fixture
def held(served):
    """Two rows under the labels of what is served."""
    names = served.bundle.manifest.labels
    targets = np.zeros((2, len(names)), dtype=np.int8)
    targets[0, names.index("joy")] = targets[1, names.index("anger")] = 1
    rows = LabelledTexts(
        LabelSet("served", names, {}), ("радость", "злость"), targets, ("made",) * 2, np.arange(2)
    )
    return SimpleNamespace(folder="made", manifest={}, split=lambda _name: rows)


def test_a_served_model_is_scored_like_its_bundle(served, rest_url, held):
    with open_source(rest_url) as remote:
        result, found = evaluate_source(remote, held, ["test"])
    with open_source(str(served.bundle.folder)) as local:
        expected, _ = evaluate_source(local, held, ["test"])
    assert result.backend == "server"
    assert result.splits == expected.splits
    assert found[0].probabilities.shape == held.split("test").targets.shape


def test_nan_from_a_server_is_refused(served, rest_url, held):
    served.spoil = lambda scores: np.full_like(scores, np.nan)
    with open_source(rest_url) as remote, pytest.raises(ServerError):
        evaluate_source(remote, held, ["test"])


def test_a_server_s_precision_is_not_ours_to_choose(rest_url):
    with pytest.raises(InputError, match="leave out --precision"), open_source(rest_url, "bf16"):
        pass


def test_over_grpc_facts_come_from_the_rest_url(grpc_url, rest_url, held):
    with open_source(grpc_url, metadata_url=rest_url) as remote:
        by_grpc, _ = evaluate_source(remote, held, ["test"])
    with open_source(rest_url) as remote:
        assert evaluate_source(remote, held, ["test"])[0].splits == by_grpc.splits
