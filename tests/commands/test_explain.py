"""`config explain`, `config reference` and the comments of `config show`, as a person types them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.main import get_command

from adasparse_cli.app import app
from adasparse_cli.terminal.command_page import command_page
from tests.commands.typing_in import ENVIRONMENT, adasparse

ROOT = Path(__file__).parents[2]


def test_a_key_is_explained(tmp_path: Path) -> None:
    said = adasparse(tmp_path, "config", "explain", "loop.select").stdout
    for part in (
        "metric of the valid split",
        "one of auc, log_loss, gauc_domain",
        "default  gauc_domain",
        "loop=maml,standard",
        "ablate",
    ):
        assert part in said


def test_a_prefix_is_a_table_and_json_has_all(tmp_path: Path) -> None:
    said = adasparse(tmp_path, "config", "explain", "model.regulariser").stdout
    assert all(f"model.regulariser.{name}" in said for name in ("enabled", "interval", "start", "end"))
    rows = json.loads(adasparse(tmp_path, "config", "explain", "model", "model=star", "--json").stdout)["rows"]
    assert {row["key"]: row["default"] for row in rows}["model.auxiliary_hidden"] == "[32]"
    assert all(row["meaning"] and row["valid"] and row["used_by"].startswith("model=") for row in rows)


def test_a_section_a_value_or_nothing_may_be_named(tmp_path: Path) -> None:
    def keys(*words: str) -> list[str]:
        return [
            row["key"] for row in json.loads(adasparse(tmp_path, "config", "explain", *words, "--json").stdout)["rows"]
        ]

    assert keys("model=star") == keys("model", "model=star")
    assert keys("loop.select=auc") == ["loop.select"]
    assert {"seed", "data.rows", "network.hidden", "model.mode", "loop.epochs", "tracking.uri"} <= set(keys())
    assert "did you mean star?" in adasparse(tmp_path, "config", "explain", "model=stra", code=2).stderr


def test_wrong_words_name_the_right_ones(tmp_path: Path) -> None:
    done = adasparse(tmp_path, "config", "explain", "loop.slect", code=2)
    assert "unknown setting loop.slect" in done.stderr
    assert "did you mean loop.select?" in done.stderr
    done = adasparse(tmp_path, "config", "explain", "model", "model=stra", code=2)
    assert "did you mean star?" in done.stderr
    done = adasparse(tmp_path, "config", "explain", "model", "star", code=2)
    assert "model=star" in done.stderr


def test_shown_settings_with_comments_are_a_file_for_config(tmp_path: Path) -> None:
    shown = adasparse(tmp_path, "config", "show", "--comments", "model=star", "loop.batch_size=64").stdout
    assert "# rows per step. [whole number, at least 2]\n  batch_size: 64" in shown
    (tmp_path / "mine.yaml").write_text(shown)
    again = adasparse(tmp_path, "config", "show", "--config", "mine.yaml").stdout
    assert again == adasparse(tmp_path, "config", "show", "model=star", "loop.batch_size=64", "--no-comments").stdout
    assert "#" not in again


def test_the_reference_is_the_page_in_docs(tmp_path: Path) -> None:
    assert adasparse(tmp_path, "config", "reference").stdout == (ROOT / "docs/settings.md").read_text(encoding="utf-8")


def test_the_page_of_commands_is_up_to_date() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert page == command_page(get_command(app)), "adasparse config reference --commands > docs/commands.md"


def test_the_page_of_commands_has_every_command_with_its_options_defaults_and_examples(tmp_path: Path) -> None:
    page = adasparse(tmp_path, "config", "reference", "--commands").stdout
    sections = dict(re.findall(r"^## `adasparse (.*?)`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))

    def walk(command: Any, path: str) -> None:
        for name, inner in command.commands.items():
            if hasattr(inner, "commands"):
                walk(inner, f"{path}{name} ")
                continue
            section = sections.pop(f"{path}{name}")
            assert f"adasparse {path}{name}" in section.partition("```text\n")[2].partition("```")[0]
            for parameter in inner.params:
                for spelled in parameter.opts if parameter.param_type_name == "option" else ():
                    assert spelled == "--help" or f"`{spelled}`" in section
            assert f"adasparse {path}{name}" in section.partition("```bash\n")[2]

    walk(get_command(app), "")
    assert not sections
    assert "| `--seeds` `<int>` | Number of seeds, starting at `seed`. | `1` |" in page
    assert "<list[" not in page


def test_explaining_loads_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys; from adasparse_cli.app import main; sys.argv = ['adasparse', 'config', 'explain', 'model']\n"
        "main()\nassert not {'torch', 'polars', 'hydra', 'omegaconf', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "model.pruner.rank" in done.stdout
