"""All models by name: the name on the command line, of the module, of the YAML and of the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adasparse_cli.lazily import LazyClasses

if TYPE_CHECKING:
    from adasparse_cli.models.base import Model
    from adasparse_cli.models.lightgbm import Lightgbm

MODELS: LazyClasses[Model] = LazyClasses(
    "adasparse_cli.models",
    {
        "adasparse": "adasparse:AdaSparse",
        "apg": "apg:Apg",
        "biasnet": "biasnet:BiasNet",
        "dcnv2": "dcnv2:Dcnv2",
        "deepfm": "deepfm:DeepFm",
        "dnn": "dnn:Dnn",
        "epnet": "epnet:Epnet",
        "lr": "lr:Lr",
        "m2m": "m2m:M2m",
        "mmoe": "mmoe:Mmoe",
        "ple": "ple:Ple",
        "ppnet": "ppnet:Ppnet",
        "saml": "saml:Saml",
        "sarnet": "sarnet:Sarnet",
        "star": "star:Star",
    },
)
# Not networks: trained without gradient steps, and compared only where they are named, since they need an extra.
TREE_MODELS: LazyClasses[Lightgbm] = LazyClasses("adasparse_cli.models", {"lightgbm": "lightgbm:Lightgbm"})
