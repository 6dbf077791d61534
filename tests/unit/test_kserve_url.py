from __future__ import annotations

import pytest

from ov_emotions.client.url import ServerAddress, parse_model_url, parse_url
from ov_emotions.errors import InputError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("grpc://host:9000/emotions", ServerAddress("grpc", "host", 9000, "", "emotions")),
        ("http://host:8000/emotions/", ServerAddress("http", "host", 8000, "", "emotions")),
        ("https://host/emotions", ServerAddress("https", "host", 443, "", "emotions")),
        ("HTTP://host/emotions", ServerAddress("http", "host", 80, "", "emotions")),
        ("grpcs://host/emotions", ServerAddress("grpcs", "host", 443, "", "emotions")),
        ("grpc://[::1]:9000/m", ServerAddress("grpc", "::1", 9000, "", "m")),
        ("grpc://h:1/m/versions/3", ServerAddress("grpc", "h", 1, "", "m", "3")),
        ("http://h:1/v2/models/m", ServerAddress("http", "h", 1, "", "m")),
        ("http://h:1/v2/models/m/versions/2", ServerAddress("http", "h", 1, "", "m", "2")),
        ("https://h/a/b/v2/models/m", ServerAddress("https", "h", 443, "/a/b", "m")),
        ("tfs+grpc://h:9000/m", ServerAddress("tfs+grpc", "h", 9000, "", "m")),
        ("http://h:1/v2", ServerAddress("http", "h", 1)),
        ("http://h:1", ServerAddress("http", "h", 1)),
    ],
)
def test_urls_are_taken_apart(url: str, expected: ServerAddress) -> None:
    assert parse_url(url) == expected


def test_an_address_reads_as_its_url() -> None:
    url = "grpc://[::1]:9000/emotions/versions/2"
    address = parse_url(url)
    assert str(address) == url
    assert address.target == "[::1]:9000"
    assert address.grpc and not address.secure and not address.legacy
    assert parse_url("https://h/p/v2/models/m").target == "h:443/p"
    assert parse_url("tfs+grpcs://h:1/m").legacy


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (None, "not a NoneType"),
        (b"grpc://h:1/m", "not a bytes"),
        ("", "must start with one of"),
        ("emotions", "must start with one of http://"),
        ("host:9000/emotions", "must start with one of"),
        ("ftp://host/emotions", "must start with one of"),
        ("grpc://", "has no host"),
        ("grpc:///emotions", "has no host"),
        ("grpc://host/emotions", "has no port"),
        ("grpc://host:0/emotions", "has no port"),
        ("grpc://host:99999/emotions", "malformed"),
        ("grpc://host:port/emotions", "malformed"),
        ("http://[::1/emotions", "malformed"),
        ("http://host:8000/emotions?x=1", "query or fragment"),
        ("http://host:8000/emotions#top", "query or fragment"),
        ("http://host:8000/a/b", "the path of the URL"),
        ("http://host:8000/emotions/infer", "the path of the URL"),
        ("grpc://host:9000/a/v2/models/emotions", "no path before the model"),
        ("grpc://host:9000/emotions/versions/0", "versions are numbers above 0"),
        ("grpc://host:9000/emotions/versions/x", "versions are numbers above 0"),
        (f"grpc://host:9000/emotions/versions/{'9' * 5000}", "versions are numbers above 0"),
        ("grpc://host:9000/emotions/versions", "versions are numbers above 0"),
        ("http://host:8000/эмо ции", "holds a space"),
        ("http://host:8000/a%2Fb", "no server would accept"),
        ("http://ho\nst:8000/emotions", "cannot be printed"),
    ],
)
def test_a_url_that_is_wrong_is_told_in_one_sentence(url: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as raised:
        parse_url(url)
    assert "\n" not in str(raised.value)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    for url in ("http://me:secret@host:8000/emotions", "ftp://me:secret@host/emotions"):
        with pytest.raises(InputError) as raised:
            parse_url(url)
        assert "secret" not in str(raised.value)


def test_a_model_url_names_a_model() -> None:
    with pytest.raises(InputError, match="names no model"):
        parse_model_url("http://host:8000")
