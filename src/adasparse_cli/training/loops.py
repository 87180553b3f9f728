"""All training loops by name: the name on the command line and of the YAML."""

from adasparse_cli.training.loop import Loop
from adasparse_cli.training.maml import MamlLoop
from adasparse_cli.training.standard import StandardLoop

LOOPS: dict[str, type[Loop]] = {
    "maml": MamlLoop,
    "standard": StandardLoop,
}
