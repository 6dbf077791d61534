"""The README says what the committed figures say, and its Python runs."""

import json
import re
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_is_rendered_from_the_committed_figures():
    tables = runpy.run_path(str(ROOT / "benchmarks" / "readme_table.py"))
    assert tables["insert_peers"](tables["insert"](README, tables["render"]())) == README
    assert tables["insert_convert"](README) == README


def test_tables_of_settings_are_the_classes_own():
    tables = runpy.run_path(str(ROOT / "benchmarks" / "readme_table.py"))
    texts = [path.read_text(encoding="utf-8") for path in tables["WITH_SETTINGS"]]
    assert any("<!-- settings " in text for text in texts)
    assert [tables["insert_settings"](text) for text in texts] == texts


def test_the_first_python_example_runs_and_finds_joy(capsys):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    exec(compile(code, "README.md", "exec"), {})
    assert "joy" in capsys.readouterr().out


def test_the_page_of_the_checkpoints_holds_the_committed_figures():
    stages = runpy.run_path(str(ROOT / "benchmarks" / "training" / "stages.py"))
    told = stages["render"](json.loads(stages["RESULTS"].read_text(encoding="utf-8")))
    assert told in stages["PAGE"].read_text(encoding="utf-8")
