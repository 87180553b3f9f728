"""The initial files of a new model: module, values and test."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from adasparse_cli.errors import UsageError
from adasparse_cli.files import write_text

_FILES = {"model.py.txt": "{module}.py", "model.yaml.txt": "{module}.yaml", "test_model.py.txt": "test_{module}.py"}


def start_model(module: str, folder: Path) -> list[Path]:
    """Write a small working model named `module` to `folder`: the DNN with a bias for each domain.

    Returns:
        The files, in the recommended reading order.

    Raises:
        UsageError: the name is not a lower-case identifier, the folder does not exist, or a file exists already.
    """
    if not (module.isidentifier() and module.isascii() and module == module.lower()) or module.startswith("_"):
        raise UsageError(
            f"{module[:80]!r} cannot be the name of a module",
            hint="use lower-case letters, digits and _, such as my_model",
        )
    if not folder.is_dir():
        raise UsageError(f"the folder {folder} does not exist", hint=f"mkdir -p {folder}")
    targets = {source: folder / name.format(module=module) for source, name in _FILES.items()}
    for path in targets.values():
        if path.exists():
            raise UsageError(f"{path} already exists", hint="choose another name, or another --folder")
    for source, path in targets.items():
        text = (files("adasparse_cli.testing") / "template" / source).read_text(encoding="utf-8")
        write_text(path, text.replace("MODULE", module).replace("CLASS", class_name(module)))
    return list(targets.values())


def class_name(module: str) -> str:
    """The class of a module: `MyModel` for `my_model`."""
    return "".join(part.capitalize() for part in module.split("_"))
