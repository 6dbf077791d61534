"""`ov-emotions ovms check` against servers on loopback."""

from __future__ import annotations

import json

import pytest
from fake_kserve import Reply, Request, http_server

from ov_emotions.cli.main import main


def check(*arguments: str) -> int:
    return main(["ovms", "check", *arguments])


def test_a_server_that_is_well_passes_on_one_page(rest_url, tiny_bundle, capsys):
    assert check(rest_url, "--model", str(tiny_bundle.folder), "--requests", "3") == 0
    page = capsys.readouterr().out
    assert len(page.splitlines()) < 15
    assert "OpenVINO Model Server 2026.4.1" in page
    assert "the same as tiny here" in page
    assert "the bundle here differs by 0.0000" in page
    assert "p50" in page
    assert "FAILED" not in page


def test_a_server_that_is_ready_and_fails_every_inference_fails(served, capsys):
    def rule(request: Request) -> Reply:
        if request.path.endswith("/infer"):
            return Reply.of({"error": "Internal inference error"}, 500)
        return served.rest(request)

    with http_server(rule) as (port, _):
        assert check(f"http://127.0.0.1:{port}/emotions") == 1
    page = capsys.readouterr().out
    assert "model ready  ok" in page
    assert "inference    FAILED" in page
    assert "Internal inference error" in page


def test_other_answers_than_the_bundles_fail(served, rest_url, tiny_bundle, capsys):
    served.spoil = lambda scores: scores[:, ::-1]
    assert check(rest_url, "--model", str(tiny_bundle.folder)) == 1
    assert "but the bundle here differs by" in capsys.readouterr().out


def test_the_wrong_model_fails(served, rest_url, tiny_bundle, capsys):
    served.facts["thresholds"] = '{"anger": 0.7, "joy": 0.61, "neutral": 0.9}'
    assert check(rest_url, "--model", str(tiny_bundle.folder)) == 1
    page = capsys.readouterr().out
    assert "model        FAILED" in page
    assert "0.61 and not 0.6" in page
    assert "inference    -" in page


def test_a_server_that_is_not_there_fails_without_more_ado(capsys):
    pytest.importorskip("tritonclient", reason="the extra serving is not installed")
    assert check("grpc://127.0.0.1:1/emotions", "--timeout", "1") == 1
    page = capsys.readouterr().out
    assert "live       FAILED" in page
    assert page.count("not tried") == 3


def test_over_grpc_facts_come_from_beside(rest_url, grpc_url, capsys):
    assert check(grpc_url, "--requests", "2") == 1
    assert "metadata_url" in capsys.readouterr().out
    assert check(grpc_url, "--metadata-url", rest_url, "--requests", "2") == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["emotions"], "must start with one of"),
        (["http://127.0.0.1:1"], "names no model"),
        (["http://127.0.0.1:1/emotions", "--timeout", "0"], "timeout must be"),
        (["http://127.0.0.1:1/emotions", "--ca-file", "/no/such"], "is no file"),
    ],
)
def test_wrong_use_is_one_sentence(arguments, problem, capsys):
    assert check(*arguments) == 1
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["http://127.0.0.1:1/emotions", "--timeout", "1"], "refused"),
        (["http://127.0.0.1:1/emotions", "--model", "nosuch"], "no folder 'nosuch'"),
        (["emotions"], "must start with one of"),
        (["{rest}", "--model", "{bundle}"], "other weights"),
        (["{grpc}", "--model", "{bundle}"], "does not answer as tiny"),
        (["{grpc}"], "metadata_url"),
    ],
)
def test_json_is_json_on_every_outcome(served, rest_url, grpc_url, capsys, arguments, problem):
    served.facts["manifest_sha256"] = "1" * 64
    served.spoil = lambda scores: scores / 2
    places = {"rest": rest_url, "grpc": grpc_url, "bundle": str(served.bundle.folder)}
    given = [argument.format(**places) for argument in arguments]
    assert check(*given, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["url"]) == (False, given[0])
    wrong = next(step for step in found["steps"] if not step["ok"])
    assert problem in wrong["detail"]


def test_what_was_not_verified_is_never_called_the_same(grpc_url, tiny_bundle, capsys):
    assert check(grpc_url, "--model", str(tiny_bundle.folder), "--requests", "2") == 0
    page = capsys.readouterr().out
    assert "the same as" not in page
    assert "32 known texts answered alike, probabilities to 0.0000, thresholds to" in page
    assert "(of neutral from one side only)" in page
