from __future__ import annotations

import shutil

import pytest
from fake_kserve import ServedBundle, grpc_server, http_server

from ov_emotions.bundle import Bundle


@pytest.fixture
def served(tiny_bundle):
    """What the servers of `rest_url` and `grpc_url` serve."""
    pytest.importorskip("tritonclient", reason="the extra serving is not installed")
    return ServedBundle(tiny_bundle)


@pytest.fixture
def rest_url(served):
    with http_server(lambda request: served.rest(request)) as (port, _):
        yield f"http://127.0.0.1:{port}/emotions"


@pytest.fixture
def grpc_url(served):
    with grpc_server(lambda *call: served.grpc(*call)) as (port, _):
        yield f"grpc://127.0.0.1:{port}/emotions"


@pytest.fixture
def own_bundle(tiny_bundle, tmp_path):
    """A copy that may be spoilt."""
    shutil.copytree(tiny_bundle.folder, tmp_path / "bundle")
    return Bundle.load(tmp_path / "bundle")
