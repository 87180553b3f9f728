"""All training loops by their name on the command line and in conf/loop."""

from adasparse_cli.training.loop import Loop
from adasparse_cli.training.maml import MamlLoop
from adasparse_cli.training.standard import StandardLoop

LOOPS: dict[str, type[Loop]] = {
    "maml": MamlLoop,
    "standard": StandardLoop,
}
