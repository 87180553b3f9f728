"""All models by name: the name on the command line, of the module, of the YAML and of the test."""

from adasparse_cli.models.adasparse import AdaSparse
from adasparse_cli.models.apg import Apg
from adasparse_cli.models.base import Model
from adasparse_cli.models.biasnet import BiasNet
from adasparse_cli.models.dcnv2 import Dcnv2
from adasparse_cli.models.deepfm import DeepFm
from adasparse_cli.models.dnn import Dnn
from adasparse_cli.models.epnet import Epnet
from adasparse_cli.models.lightgbm import Lightgbm
from adasparse_cli.models.lr import Lr
from adasparse_cli.models.m2m import M2m
from adasparse_cli.models.mmoe import Mmoe
from adasparse_cli.models.ple import Ple
from adasparse_cli.models.ppnet import Ppnet
from adasparse_cli.models.saml import Saml
from adasparse_cli.models.sarnet import Sarnet
from adasparse_cli.models.star import Star

MODELS: dict[str, type[Model]] = {
    "adasparse": AdaSparse,
    "apg": Apg,
    "biasnet": BiasNet,
    "dcnv2": Dcnv2,
    "deepfm": DeepFm,
    "dnn": Dnn,
    "epnet": Epnet,
    "lr": Lr,
    "m2m": M2m,
    "mmoe": Mmoe,
    "ple": Ple,
    "ppnet": Ppnet,
    "saml": Saml,
    "sarnet": Sarnet,
    "star": Star,
}
# Not networks: trained without gradient steps, and compared only where they are named, since they need an extra.
TREE_MODELS: dict[str, type[Lightgbm]] = {"lightgbm": Lightgbm}
