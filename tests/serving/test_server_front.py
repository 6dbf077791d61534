"""`--root-path`: nginx with TLS in front, which shows the server below a path."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from live_server import live
from test_deployment_front import free_port, make_secrets, tool, wait_for

from ov_emotions.classifier import EmotionClassifier

CONFIG = """
error_log stderr;
pid {folder}/nginx.pid;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream served {{ server 127.0.0.1:{served}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/secrets/tls.crt; ssl_certificate_key {folder}/secrets/tls.key;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
    location /emotions/ {{ proxy_pass http://served{taken_off}; }}
  }}
}}
"""


@pytest.fixture(scope="module", params=["/", ""], ids=["taken off", "left"])
def front(
    request: pytest.FixtureRequest,
    tiny_classifier: EmotionClassifier,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx.Client]:
    nginx = tool("nginx")
    folder: Path = tmp_path_factory.mktemp("front")
    make_secrets(folder / "secrets")
    port = free_port()
    with live(tiny_classifier, root_path="/emotions") as server:
        told = CONFIG.format(folder=folder, port=port, served=server.port, taken_off=request.param)
        (folder / "nginx.conf").write_text(told, encoding="utf-8")
        command = [nginx, "-c", folder / "nginx.conf", "-p", folder, "-g", "daemon off;"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                wait_for(port, process)
                trust = ssl.create_default_context(cafile=str(folder / "secrets" / "tls.crt"))
                base = f"https://localhost:{port}/emotions"
                with httpx.Client(base_url=base, verify=trust, timeout=20) as client:
                    yield client
            finally:
                process.terminate()
                process.communicate(timeout=10)


def test_every_door_is_open_below_the_path(front: httpx.Client) -> None:
    asked = {"texts": ["какая радость"]}
    answer = front.post("/v1/emotions", json=asked)
    assert answer.json()["predictions"][0]["labels"] == ["joy"]
    assert front.get("/v2/health/live").json() == {"live": True}
    assert front.get("/v2/models/emotions").json()["name"] == "emotions"
    assert front.post("/", json={"inputs": "радость"}).json()[0][0]["label"] == "joy"
    assert front.get("/health").status_code == 200


def test_the_description_names_the_path_and_the_page_asks_below_it(front: httpx.Client) -> None:
    told = front.get("/openapi.json").json()
    assert told["servers"] == [{"url": "/emotions"}]
    assert "/v1/emotions" in told["paths"]
    page = front.get("/docs").text
    assert 'fetch("openapi.json"' in page, "from /emotions/docs that is /emotions/openapi.json"
    assert "/openapi.json" not in page


def test_errors_are_in_one_form_there_too(front: httpx.Client) -> None:
    for path, status in (("/nothing", 404), ("/v1/emotions", 405), ("/v2/nothing", 400)):
        answer = front.get(path)
        assert answer.status_code == status
        assert answer.json()["error"]
        assert ("request_id" in answer.json()) == (not path.startswith("/v2"))
    counted = front.get("/metrics").text
    assert 'endpoint="/v1/emotions"' in counted
