"""All models by name: the name on the command line, of the module, of the YAML and of the test."""

from adasparse_cli.models.adasparse import AdaSparse
from adasparse_cli.models.base import Model
from adasparse_cli.models.dnn import Dnn

MODELS: dict[str, type[Model]] = {
    "adasparse": AdaSparse,
    "dnn": Dnn,
}
