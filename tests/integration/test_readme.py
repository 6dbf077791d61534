"""The README says what the committed figures say, and its Python runs."""

import re
from pathlib import Path

from benchmarks import adapt, readme_table
from benchmarks.common import renewed
from benchmarks.training import stages, steps

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_is_rendered_from_the_committed_figures():
    assert renewed(README, readme_table.render()) == README


def test_tables_of_settings_are_the_classes_own():
    texts = [path.read_text(encoding="utf-8") for path in readme_table.WITH_SETTINGS]
    assert any("<!-- settings " in text for text in texts)
    assert [renewed(text, readme_table.render_settings(text)) for text in texts] == texts


def test_the_first_python_example_runs_and_finds_joy(capsys):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    exec(compile(code, "README.md", "exec"), {})
    assert "joy" in capsys.readouterr().out


def test_pages_of_one_section_hold_the_committed_figures():
    page = stages.PAGE.read_text(encoding="utf-8")
    for path in sorted(stages.OUTPUT.parent.glob("last-stage*.json")):
        assert stages.render(path) in page
    benchmarks = readme_table.BENCHMARKS.read_text(encoding="utf-8")
    assert readme_table.render_checklist() in benchmarks
    assert adapt.render() in adapt.PAGE.read_text(encoding="utf-8")
    assert steps.render() in steps.PAGE.read_text(encoding="utf-8")
