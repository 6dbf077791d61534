from __future__ import annotations

import platform
from importlib.metadata import version

from ov_emotions import __version__
from ov_emotions.machine import available_cores, cpu_flags, cpu_name, environment


def test_the_environment_names_versions_of_what_is_installed_only():
    versions = environment("numpy", "no-such-distribution")["versions"]
    assert versions == {
        "ov_emotions": __version__,
        "python": platform.python_version(),
        "numpy": version("numpy"),
    }


def test_the_environment_names_the_processor():
    machine = environment()["machine"]
    assert machine["cpu"] == cpu_name() != ""
    assert machine["cores"] == available_cores() >= 1
    assert machine["flags"] == list(cpu_flags())


def test_only_flags_that_the_processor_tells_are_listed(monkeypatch, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: A Fast One\nflags\t\t: fpu avx2 avx512f sse\n",
        encoding="utf-8",
    )
    monkeypatch.setattr("ov_emotions.machine._CPUINFO", cpuinfo)
    assert cpu_flags() == ("avx2", "avx512f")
    assert cpu_name() == "A Fast One"


def test_a_system_that_tells_nothing_has_no_flags_and_still_a_name(monkeypatch, tmp_path):
    monkeypatch.setattr("ov_emotions.machine._CPUINFO", tmp_path / "missing")
    assert cpu_flags() == ()
    assert cpu_name() == (platform.processor() or platform.machine())
