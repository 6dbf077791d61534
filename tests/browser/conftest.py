"""A real browser on the real page: Debian's Chromium, driven by Playwright, on a server process."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ov_emotions.bundle import shipped

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
MODEL = "emotions-ru-tiny"
REPORT = ROOT / "quantize" / "reports" / "emotions-ru-small"


@dataclass
class Demo:
    """A running `ov-emotions demo`."""

    process: subprocess.Popen[str]
    _url: str | None = None

    @property
    def url(self) -> str:
        """Where the page is; waits until it is there."""
        if self._url is None:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            assert line, f"the demo ended with {self.process.wait()}"
            self._url = json.loads(line)["url"]
        return self._url

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def start(*flags: str) -> Demo:
    command = [sys.executable, "-m", "ov_emotions", "demo", "--port", "0", "--json"]
    command += ["--model", MODEL, "--threads", "1", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("OV_EMOTIONS_API_KEY", None)
    log = subprocess.DEVNULL
    return Demo(
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    )


@pytest.fixture(scope="session")
def needs() -> None:
    """What the tests here cannot do without."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    for module in ("playwright", "gradio", "uvicorn"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install '.[dev]'")


@pytest.fixture(scope="session")
def vanishing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that is there when the demo starts, and broken by the time it is asked for."""
    folder = tmp_path_factory.mktemp("bundles") / "vanishing"
    shutil.copytree(shipped(MODEL), folder)
    return folder


@pytest.fixture(scope="session")
def demos(needs: None, vanishing: Path) -> Iterator[tuple[Demo, Demo]]:  # noqa: ARG001
    """Two demos, started at the same time; the second is there to be killed."""
    both = start("--compare-with", str(vanishing), "--report", str(REPORT)), start()
    yield both
    for demo in both:
        demo.kill()


@pytest.fixture(scope="session")
def url(demos: tuple[Demo, Demo], vanishing: Path) -> str:
    address = demos[0].url
    (vanishing / "model.bin").unlink()
    return address


@pytest.fixture
def below(needs: None, tmp_path: Path) -> Iterator[str]:  # noqa: ARG001
    """The page below a path of nginx, which takes the path off, with TLS."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None or shutil.which("openssl") is None:
        pytest.skip("nginx or openssl is not installed")
    demo = start("--root-path", "/emotions", "--report", str(REPORT))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")]
    command += ["-subj", "/CN=localhost"]
    subprocess.run(command, check=True, capture_output=True)
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in kinds)
    user = "user root;" if os.geteuid() == 0 else ""
    upstream = urlsplit(demo.url).netloc
    (tmp_path / "nginx.conf").write_text(
        f"{user} pid {tmp_path}/pid; error_log {tmp_path}/log; events {{}}\n"
        f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port} ssl;\n"
        f"ssl_certificate {tmp_path}/crt; ssl_certificate_key {tmp_path}/key;\n"
        f"location /emotions/ {{ proxy_pass http://{upstream}/; proxy_buffering off;\n"
        "proxy_http_version 1.1; proxy_set_header Host $http_host; } } }\n",
        "utf-8",
    )
    process = subprocess.Popen([nginx, "-c", tmp_path / "nginx.conf", "-g", "daemon off;"])
    try:
        yield f"https://localhost:{port}/emotions/demo/"
    finally:
        process.terminate()
        process.wait()
        demo.kill()


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, which `npm pack axe-core` brings; AXE_CORE says where it lies."""
    path = Path(os.environ.get("AXE_CORE", ROOT / "node_modules" / "axe-core" / "axe.min.js"))
    if not path.is_file():
        pytest.skip(f"{path} is missing: npm install --no-save axe-core, or set AXE_CORE")
    return path.read_text("utf-8")


# Playwright keeps an event loop running in this thread: tests after these need theirs.
@pytest.fixture(scope="module")
def browser(needs: None) -> Iterator[Any]:  # noqa: ARG001
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()


@dataclass
class Seen:
    """What a page did that nobody asked for."""

    strangers: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@pytest.fixture
def open_page(browser: Any, url: str) -> Iterator[Callable[..., Any]]:
    """Opens the page; at the end, says so if it asked another host for something, or had errors."""
    contexts: list[Any] = []
    seen = Seen()

    def open_(
        view: str = "text",
        *,
        language: str = "ru",
        theme: str = "light",
        width: int = 1280,
        at: str = url,
        context: Any = None,
    ) -> Any:
        if context is None:
            context = browser.new_context(
                locale={"ru": "ru-RU", "en": "en-GB"}[language],
                color_scheme=theme,
                viewport={"width": width, "height": 800},
                accept_downloads=True,
                ignore_https_errors=True,
            )
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: _note(request.url, at, seen))
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.goto(f"{at}#{view}")
        page.wait_for_selector("html[data-ready] .masthead", state="attached")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert seen.strangers == []
    assert seen.errors == []


def _note(address: str, at: str, seen: Seen) -> None:
    parts = urlsplit(address)
    if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(at).netloc:
        seen.strangers.append(address)
