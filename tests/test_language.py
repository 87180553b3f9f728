"""Text for readers uses the field's terms: help texts, the meanings of settings, the documentation, and docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from adasparse_cli.app import app

ROOT = Path(__file__).parents[1]
# Old words, and what replaces each.
GLOSSARY = {
    r"(is|are|being) told": "receives",
    r"(is|are) fed": "receives",
    r"(can|cannot|not to) be had": "is (not) available",
    r"stands? in": "is in",
    r"plain network": "DNN",
    r"kept weights": "best checkpoint",
    r"rungs?": "definition",
    r"ladder": "series of definitions",
    r"told apart": "differs significantly",
    r"is no (key|model)": "unknown",
    r"is right": "is valid",
    r"wins? over": "overrides",
    r"mend": "fix",
    r"leans? on": "relies on",
    r"whence": "why",
    r"by the way": "",
    r"in the place of": "instead of",
    r"what it weighs": "parameters",
    r"set aside": "rejected",
    r"go(es)? on with": "resumes",
    r"so many": "number of",
    r"nobody knows": "no estimate",
    r"neurons cut": "pruned neurons",
}
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
    *(ROOT / "docs").glob("how-to/*.md"),
    *(
        ROOT / "docs" / f"{name}.md"
        for name in (
            "index", "tutorial", "method", "settings", "analyses", "decisions", "reliability", "serving", "twin",
        )
    ),
]  # fmt: skip
# Packages of which docstrings and comments are checked, too.
PACKAGES = (
    "analysis", "catalogue", "commands", "config", "exporting", "findings", "insights", "layers", "models", "page",
    "paper", "prep", "raw", "runs", "server", "serving", "studies", "tables", "testing", "training",
)  # fmt: skip
SOURCES = sorted(
    [
        *(path for path in (ROOT / "data_prep").rglob("*.py") if not path.name.startswith("tabular")),
        *(path for name in PACKAGES for path in (ROOT / "src" / "adasparse_cli" / name).glob("*.py")),
        *(
            path
            for path in (ROOT / "src" / "adasparse_cli").glob("*.py")
            if path.stem not in {"app", "progress", "render"}
        ),
    ]
)
# Further words, checked only in docstrings: some messages and pages use them.
IN_DOCSTRINGS = {
    r"of (its|one's|their) own": "separate, private",
    r"(?<!there )is no (number|list|folder|file|table|field|text|run|class)": "is not a …",
    r"looked at": "read, checked, analysed",
    r"learnt": "learned",
    r"anew": "again",
    r"less (that|those) (in|of)": "minus",
}


def helps(command: Any, name: str) -> Iterator[tuple[str, str]]:
    yield name, command.help or ""
    for parameter in command.params:
        yield f"{name} {parameter.name}", getattr(parameter, "help", None) or ""
    for inner, other in getattr(command, "commands", {}).items():
        yield from helps(other, f"{name} {inner}")


def old_words(text: str, glossary: Mapping[str, str] = GLOSSARY) -> list[str]:
    return [
        f"{found[0]!r}: write {new!r}"
        for old, new in glossary.items()
        if (found := re.search(rf"\b{old}\b", text, re.IGNORECASE))
    ]


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each docstring of a module, its public classes and functions, on one line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield getattr(node, "name", "module"), " ".join(text.split())


def test_help_texts_use_the_fields_terms() -> None:
    found = {where: words for where, text in helps(get_command(app), "adasparse") if (words := old_words(text))}
    assert not found, found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_use_the_fields_terms(page: Path) -> None:
    found = {
        k: words
        for k, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        if (words := old_words(line))
    }
    assert not found, found


@pytest.mark.parametrize("path", sorted((ROOT / "conf").rglob("*.yaml")), ids=lambda path: path.stem)
def test_packaged_settings_use_the_fields_terms(path: Path) -> None:
    assert not old_words(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_use_the_fields_terms(path: Path) -> None:
    found = {name: words for name, text in docstrings(path) if (words := old_words(text, GLOSSARY | IN_DOCSTRINGS))}
    assert not found, found
