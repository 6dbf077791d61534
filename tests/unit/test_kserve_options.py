from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ov_emotions.client.options import ServerOptions
from ov_emotions.errors import InputError


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"timeout": 0}, "timeout must be a number of seconds above 0"),
        ({"deadline": float("inf")}, "deadline"),
        ({"backoff": "1"}, "backoff"),
        ({"timeout": True}, "timeout"),
        ({"attempts": 0}, "attempts must be a whole number"),
        ({"batch_texts": 1.5}, "batch_texts"),
        ({"concurrency": True}, "concurrency"),
        ({"headers": [("a", "b")]}, "must map names"),
        ({"headers": {"a b": "c"}}, "'a b' cannot be the name"),
        ({"headers": {"Content-Length": "1"}}, "set by the client itself"),
        ({"headers": {"x": "a\r\nb"}}, "printable ASCII"),
        ({"headers": {"x": 1}}, "printable ASCII"),
        ({"ca_file": Path("/no/such.pem")}, "ca_file /no/such.pem is no file"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        ServerOptions(**options)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    path.write_text("")
    with pytest.raises(InputError, match="belong together"):
        ServerOptions(cert_file=path)


def test_secrets_stay_out_of_the_representation() -> None:
    assert "secret" not in repr(ServerOptions(headers={"authorization": "secret"}))


def test_a_bad_header_value_is_not_repeated() -> None:
    with pytest.raises(InputError) as raised:
        ServerOptions(headers={"authorization": "секрет"})
    assert "секрет" not in str(raised.value)


def test_pauses_grow_up_to_a_limit_and_are_never_the_same_for_all() -> None:
    options = ServerOptions(backoff=1.0, max_backoff=4.0)
    for failures, longest in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 4.0), (1000, 4.0)):
        pauses = {options.pause(failures) for _ in range(50)}
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(pauses) > 1
