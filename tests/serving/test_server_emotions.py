"""`/v1` of `ov-emotions serve`: what is answered, what is refused, and with which words."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_server import Held, Live, live

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.errors import DeviceError, InputError
from ov_emotions.server import ServerSettings, create_app

TEXTS = ["какая радость", "злость", "слово", "", "?!"]
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(tiny_classifier: EmotionClassifier) -> Iterator[Live]:
    limits = {"max_texts": 20, "max_text_characters": 400, "max_body_bytes": 20_000}
    with live(tiny_classifier, **limits) as found:
        yield found


@pytest.fixture(scope="module")
def http(server: Live) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


def ask(http: httpx.Client, texts: Any) -> httpx.Response:
    return http.post("/v1/emotions", json={"texts": texts})


def counted(http: httpx.Client, name: str) -> float:
    lines = http.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_the_answer_is_the_classifiers_with_model_and_version(
    http: httpx.Client, tiny_classifier: EmotionClassifier
) -> None:
    answer = ask(http, TEXTS)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body["model"] == "tiny"
    manifest = json.loads(tiny_classifier.bundle.manifest.to_json())
    assert manifest["manifest_sha256"].startswith(body["version"])
    assert len(body["version"]) == 12
    for found, expected in zip(body["predictions"], tiny_classifier(TEXTS), strict=True):
        assert found["labels"] == list(expected.labels)
        assert list(found["scores"]) == list(expected.scores)
        assert found["scores"] == pytest.approx(dict(expected.scores), abs=1e-5)
        assert found["truncated"] is expected.truncated
    assert ask(http, []).json()["predictions"] == []


def test_many_texts_are_answered_in_order(tiny_classifier: EmotionClassifier) -> None:
    texts = [TEXTS[i % 3] for i in range(2000)]
    with (
        live(tiny_classifier, batch_tokens=100, deadline=600) as server,
        httpx.Client(base_url=server.url, timeout=30) as http,
    ):
        found = ask(http, texts).json()["predictions"]
    expected = [list(prediction.labels) for prediction in tiny_classifier(texts)]
    assert [prediction["labels"] for prediction in found] == expected


def test_a_long_text_is_truncated_where_the_classifier_does_so(tiny_bundle: Bundle) -> None:
    long = "слово " * 40 + "радость"
    with (
        EmotionClassifier(tiny_bundle, threads=1, long_texts="truncate") as classifier,
        live(classifier) as server,
        httpx.Client(base_url=server.url) as http,
    ):
        [found] = ask(http, [long]).json()["predictions"]
        told = http.get("/v1/model").json()["long_texts"]
        facts = http.get("/v2/models/emotions").json()["rt_info"]["model_info"]
    assert found["truncated"] is True
    assert told == facts["long_texts"] == "truncate"


def test_the_model_and_the_limits_are_told(
    http: httpx.Client, tiny_classifier: EmotionClassifier
) -> None:
    told = http.get("/v1/model").json()
    assert told["labels"] == [
        {"name": "anger", "name_ru": "гнев", "threshold": 0.7},
        {"name": "joy", "name_ru": "радость", "threshold": 0.6},
        {"name": "neutral", "name_ru": "нейтрально", "threshold": 0.9},
    ]
    assert (told["max_texts"], told["max_text_characters"]) == (20, 400)
    assert told["model"] == tiny_classifier.bundle.manifest.name


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "the body is not JSON"),
        (b'{"texts": [', 400, "the body is not JSON"),
        ('{"texts": ["да"]}'.encode("utf-16"), 400, "the body is not JSON"),
        (DEEP[:19_000], 400, "the body is not JSON"),
        (b'{"texts": ' + DEEP[:10_000] + b"]" * 10_000 + b"}", 413, "larger than 20,000 bytes"),
        (b'{"texts": ["\\uD800",' + b"[" * 900 + b"]" * 900 + b"]}", 400, "the body is not JSON"),
        (b'{"texts": ["a"]} {"texts": ["b"]}', 400, "the body is not JSON"),
        (b"null", 422, "the body is null, not an object"),
        (b'["a"]', 422, "the body is a list"),
        (b"{}", 422, "texts is missing"),
        (b'{"texts": ["a"], "threshold": 1}', 422, "'threshold' means nothing here"),
        (b'{"texts": "a"}', 422, "texts is a string, not a list: the body must be"),
        (b'{"texts": ["a", NaN]}', 422, "the item at position 1 of texts is a number"),
        (b'{"texts": ["a", 5]}', 422, "the item at position 1 of texts is a number"),
        (b'{"texts": ["a", true]}', 422, "the item at position 1 of texts is a boolean"),
        (json.dumps({"texts": [""] * 21}).encode(), 422, "21 texts are too many"),
        (json.dumps({"texts": ["a", "x" * 401]}).encode(), 422, "position 1 has 401 characters"),
        (b'{"texts": ["' + b"x" * 20_000 + b'"]}', 413, "larger than 20,000 bytes"),
        (b'{"texts": [' + b'"",' * 1_000_000 + b'""]}', 413, "larger than 20,000 bytes"),
    ],
)  # fmt: skip
def test_a_bad_body_is_one_sentence(
    http: httpx.Client, body: bytes, status: int, words: str
) -> None:
    answer = http.post("/v1/emotions", content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert ask(http, ["радость"]).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"texts": ["\xd0\xb4\xd0\xb0"]}',
        b'{"texts": ["\\ud800 \\u0434\\u0430 \\udc00"]}',
        b'{"texts": ["\\uDBFF\\u0434\\u0430"]}',
        b'{"texts": ["\\u0000\\u0434\\u0430\\u0007"]}',
        b'{"texts": ["x"], "texts": ["\\u0434\\u0430"]}',
        b'  {"texts" : [ "\\u0434\\u0430" ] }\r\n',
    ],
)
def test_what_can_be_read_is_read(
    http: httpx.Client, tiny_classifier: EmotionClassifier, body: bytes
) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8", "Content-Encoding": "identity"}
    answer = http.post("/v1/emotions", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    scores = answer.json()["predictions"][0]["scores"]
    assert scores == pytest.approx(dict(tiny_classifier("да").scores), abs=1e-5)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Content-Type": "text/plain"}, "the body is text/plain; send JSON"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "send JSON"),
        ({"Content-Type": ""}, "of no stated type"),
        ({**JSON, "Content-Encoding": "deflate"}, "compressed (deflate)"),
        ({**JSON, "Content-Encoding": "br, identity"}, "compressed (br, identity)"),
    ],
)
def test_other_media_types_and_codings_are_refused(
    http: httpx.Client, headers: dict[str, str], words: str
) -> None:
    answer = http.post("/v1/emotions", content=b'{"texts": []}', headers=headers)
    assert answer.status_code == 415
    assert words in answer.json()["error"]


def test_a_compressed_body_is_read_and_an_answer_compressed_for_who_takes_it(
    http: httpx.Client,
) -> None:
    headers = {**JSON, "Content-Encoding": "gzip"}
    body = json.dumps({"texts": TEXTS * 4}).encode()
    with http.stream("POST", "/v1/emotions", content=gzip.compress(body), headers=headers) as found:
        raw = b"".join(found.iter_raw())
    assert found.status_code == 200
    assert (found.headers["content-encoding"], found.headers["vary"]) == ("gzip", "Accept-Encoding")
    plain = http.post("/v1/emotions", content=body, headers={**JSON, "Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(raw) == plain.content


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (gzip.compress(b" " * 50_000_000, mtime=0), 413, "larger than 20,000 bytes"),
        (gzip.compress(b'{"texts": []}', mtime=0)[:-4], 400, "its end is missing"),
        (gzip.compress(b'{"texts": []}', mtime=0) + b"x", 400, "it goes on after its end"),
        (b'{"texts": []}', 400, "not gzip"),
    ],
)
def test_a_body_that_is_a_bomb_or_no_gzip_is_refused(
    http: httpx.Client, body: bytes, status: int, words: str
) -> None:
    answer = http.post("/v1/emotions", content=body, headers={**JSON, "Content-Encoding": "gzip"})
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 405),
        ("GET", "/v1/nothing", 404),
        ("GET", "/%00%ff/../etc/passwd", 404),
        ("GET", "/v1/emotions", 405),
        ("OPTIONS", "/v1/emotions", 405),
        ("POST", "/metrics", 405),
    ],
)
def test_other_addresses_and_methods_are_told(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert ("allow" in answer.headers) == (status == 405)


def test_every_answer_has_an_id_and_keeps_a_callers(http: httpx.Client) -> None:
    first = http.get("/v1/model").headers["x-request-id"]
    assert first != http.get("/v1/model").headers["x-request-id"]
    kept = http.get("/v1/model", headers={"X-Request-Id": "call-7.a"})
    assert kept.headers["x-request-id"] == "call-7.a"
    forged = http.get("/v1/model", headers={"X-Request-Id": "x" * 65})
    assert forged.headers["x-request-id"] != "x" * 65


def test_requests_and_refusals_are_counted(http: httpx.Client) -> None:
    texts = counted(http, "ov_emotions_texts_total")
    refused = counted(http, 'ov_emotions_rejected_total{reason="bad_request"}')
    ask(http, ["a", "b"])
    ask(http, "a")
    http.get("/nothing/7")
    assert counted(http, "ov_emotions_texts_total") == texts + 2
    assert counted(http, 'ov_emotions_rejected_total{reason="bad_request"}') == refused + 1
    text = http.get("/metrics").text
    assert 'endpoint="/v1/emotions",status="422"' in text
    assert "/nothing/7" not in text, "labels must not grow with what people ask for"
    for name in (
        "batch_requests",
        "batch_texts",
        "queue_requests",
        "request_seconds",
        "model_info",
    ):
        assert f"ov_emotions_{name}" in text
    assert "process_resident_memory_bytes" in text


# --- the queue, deadlines, failures -------------------------------------------------------------


def test_a_full_queue_answers_429_and_a_deadline_504(
    tiny_classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Held(tiny_classifier, monkeypatch)

    async def scenario(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:

            async def post() -> httpx.Response:
                return await http.post("/v1/emotions", json={"texts": ["радость"]})

            first = asyncio.ensure_future(post())
            await asyncio.to_thread(slow.begun.wait, 10)
            waiting = asyncio.ensure_future(post())
            await asyncio.sleep(0.1)
            full = await post()
            assert full.status_code == 429
            assert int(full.headers["retry-after"]) >= 1
            assert "1 requests wait already" in full.json()["error"]
            for late in await asyncio.gather(first, waiting):
                assert late.status_code == 504
                assert "no answer in time" in late.json()["error"]
            slow.go.set()
            assert (await post()).status_code == 200

    with live(tiny_classifier, queue_requests=1, deadline=0.5) as server:
        asyncio.run(scenario(server.url))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            DeviceError("OpenVINO failed on a batch: no memory"),
            "the model failed: OpenVINO failed on a batch: no memory",
        ),
        (ZeroDivisionError("тайный текст"), "the server failed; its log says why"),
    ],
)
def test_a_model_that_fails_is_a_500_that_says_nothing_of_the_texts(
    tiny_classifier: EmotionClassifier,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    words: str,
) -> None:
    def fail(*_: Any, **_options: Any) -> Any:
        raise error

    monkeypatch.setattr(tiny_classifier, "_score", fail)
    with live(tiny_classifier) as server:
        answer = httpx.post(f"{server.url}/v1/emotions", json={"texts": ["тайный текст"]})
        assert httpx.get(f"{server.url}/v2/health/live").status_code == 200
    assert (answer.status_code, answer.json()["error"]) == (500, words)


# --- keys and origins ---------------------------------------------------------------------------


def test_a_key_is_asked_for_everywhere_but_at_the_probes(
    tiny_classifier: EmotionClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("first\n\n второй \n", encoding="utf-8")
    monkeypatch.setenv("OV_EMOTIONS_API_KEY", "third")
    with (
        live(tiny_classifier, api_key_file=keys) as server,
        httpx.Client(base_url=server.url) as http,
    ):
        for path in ("/v1/model", "/metrics", "/v2", "/v2/models/emotions", "/openapi.json"):
            answer = http.get(path)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "a key is needed" in answer.json()["error"]
        for path in ("/v2/health/live", "/v2/health/ready"):
            assert http.get(path).status_code == 200
        for key in ("first", "второй", "third"):
            raw = f"Bearer {key}".encode()
            assert http.get("/v1/model", headers={"Authorization": raw}).status_code == 200
            assert http.get("/v1/model", headers={"X-API-Key": key.encode()}).is_success
        for header in ("Bearer wrong", "Bearer", "Basic first", "first", "Bearer first second"):
            assert http.get("/v1/model", headers={"Authorization": header}).status_code == 401
        told = http.get("/openapi.json", headers={"X-API-Key": "third"}).json()
    assert told["components"]["securitySchemes"]


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_file_of_keys_without_keys_is_refused_and_does_not_open_the_door(
    tiny_classifier: EmotionClassifier, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="the file of keys"):
        create_app(ServerSettings(api_key_file=path), tiny_classifier)


def test_browsers_of_other_origins_may_ask_only_where_they_are_named(
    tiny_classifier: EmotionClassifier, http: httpx.Client
) -> None:
    asked = {
        "Origin": "https://example.org",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    assert "access-control-allow-origin" not in http.options("/v1/emotions", headers=asked).headers
    with (
        live(tiny_classifier, cors_origins=("https://example.org",)) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        answer = client.options("/v1/emotions", headers=asked)
        other = client.options("/v1/emotions", headers={**asked, "Origin": "https://e.com"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    assert "access-control-allow-origin" not in other.headers
