"""Shapes in signatures are checked while the tests run; at run time they cost nothing."""

from jaxtyping import install_import_hook

install_import_hook(["adasparse_cli.batches", "adasparse_cli.layers", "adasparse_cli.models"], "beartype.beartype")
