"""What a client verifies of a server: at first, and at every new version."""

from __future__ import annotations

import pytest
from fake_kserve import (
    ServedBundle,
    classify,
    infers,
    rest,
)

from ov_emotions.bundle import Bundle
from ov_emotions.errors import (
    InputError,
    ServerError,
    ServerMismatchError,
)


def test_facts_are_verified_before_any_text_is_sent(
    served: ServedBundle, tiny_bundle: Bundle
) -> None:
    served.facts["thresholds"] = '{"anger": 0.7, "joy": 0.61, "neutral": 0.9}'
    with rest(served.rest) as (url, seen):
        with pytest.raises(ServerMismatchError, match=r"serves tiny.*joy is 0\.61 and not 0\.6"):
            classify(url, model=tiny_bundle)
        assert not infers(seen)
        with classify(url) as remote:
            assert remote.thresholds["joy"] == 0.61, "without a bundle the server's facts count"


def test_a_server_without_facts_is_refused_unless_a_bundle_is_believed(
    served: ServedBundle, rest_url: str, tiny_bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    served.facts = {}
    with pytest.raises(ServerMismatchError, match="does not tell the labels and thresholds"):
        classify(rest_url)
    with classify(rest_url, model=tiny_bundle) as remote:
        assert remote("какая радость").labels == ("joy",)
    assert "only the shapes of its tensors were compared" in caplog.text


def test_over_grpc_facts_come_from_beside_or_from_the_bundle(
    grpc_url: str, rest_url: str, tiny_bundle: Bundle
) -> None:
    with pytest.raises(ServerMismatchError, match="give its REST URL as metadata_url"):
        classify(grpc_url)
    base = rest_url.removesuffix("/emotions")
    for beside in (base, rest_url, f"{base}/v2"):
        with classify(grpc_url, metadata_url=beside) as remote:
            assert remote("злость").labels == ("anger",)
    with classify(grpc_url, model=tiny_bundle) as remote:
        assert remote("злость").labels == ("anger",)
    with pytest.raises(InputError, match="metadata_url asks for the model 'other'"):
        classify(grpc_url, metadata_url=f"{base}/other")
    with pytest.raises(InputError, match="must start with one of http://, https://"):
        classify(grpc_url, metadata_url=grpc_url)


def test_beside_another_model_facts_are_not_believed(
    grpc_url: str, served: ServedBundle, tiny_bundle: Bundle
) -> None:
    other = ServedBundle(tiny_bundle, takes="tokens")
    with (
        rest(other.rest) as (url, _),
        pytest.raises(ServerMismatchError, match="at metadata_url serves another model"),
    ):
        classify(grpc_url, metadata_url=url)
    assert served.takes == "text"


def test_tritons_parameters_are_facts_over_both_protocols(
    served: ServedBundle, grpc_url: str, rest_url: str, tiny_bundle: Bundle
) -> None:
    served.parameters, served.facts = served.facts, {}
    for url in (grpc_url, rest_url):
        with classify(url, model=tiny_bundle) as remote:
            assert remote("злость").labels == ("anger",)
    served.parameters = {"unrelated": "1"}
    with pytest.raises(ServerMismatchError, match="does not tell"):
        classify(rest_url)


def test_believing_needs_a_bundle_and_asks_for_no_facts(
    served: ServedBundle, tiny_bundle: Bundle
) -> None:
    served.facts = {"labels": "nonsense"}
    with rest(served.rest) as (url, _):
        with pytest.raises(InputError, match="verify=False believes a bundle"):
            classify(url, verify=False)
        with classify(url, model=tiny_bundle, verify=False) as remote:
            assert remote("злость").labels == ("anger",)


def test_another_model_under_the_same_name_is_noticed_at_its_first_answer(
    served: ServedBundle, rest_url: str
) -> None:
    with classify(rest_url) as remote:
        assert remote("злость").labels == ("anger",)
        served.version, served.versions = "2", ["1", "2"]
        served.facts_by_version["2"] = served.facts | {"manifest_sha256": "1" * 64}
        assert remote("злость").labels == ("anger",), "other weights, the same decisions"
        served.version, served.versions = "3", ["3"]
        served.facts_by_version["3"] = served.facts | {
            "thresholds": '{"anger": 0.8, "joy": 0.6, "neutral": 0.9}'
        }
        for _ in range(2):
            with pytest.raises(ServerMismatchError, match=r"version 3.*anger is 0\.8.*make a new"):
                remote("злость")
    with classify(rest_url) as remote:
        assert remote.thresholds["anger"] == 0.8


def test_another_model_than_the_bundle_is_noticed_by_its_hash(
    served: ServedBundle, rest_url: str, tiny_bundle: Bundle
) -> None:
    with classify(rest_url, model=tiny_bundle) as remote:
        served.version, served.versions = "2", ["2"]
        served.facts_by_version["2"] = served.facts | {"manifest_sha256": "1" * 64}
        with pytest.raises(ServerMismatchError, match="other weights"):
            remote("злость")


def test_a_version_that_was_asked_for_is_the_one_that_answers(
    served: ServedBundle, tiny_bundle: Bundle
) -> None:
    served.versions = ["1", "2"]
    with rest(served.rest) as (url, seen):
        with classify(f"{url}/versions/1", model=tiny_bundle) as remote:
            remote("злость")
        assert infers(seen)[0].path == "/v2/models/emotions/versions/1/infer"
        with pytest.raises(ServerError, match=r"\(404\): Model with requested version"):
            classify(f"{url}/versions/7")
