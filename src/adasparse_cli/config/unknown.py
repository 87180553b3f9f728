"""Errors for unknown keys and names, with suggestions."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from adasparse_cli.choices import nearest
from adasparse_cli.config.spelling import spelled
from adasparse_cli.errors import UsageError

# Suffixes of table files.
_TABLE = re.compile(r"\.(csv|tsv|txt|parquet|pq|ndjson|jsonl|json)(\.(gz|zip|bz2|xz|zst))?$|\.(zip|gz)$", re.IGNORECASE)
LONGEST_PATH = 1000
# Names of settings in other tools.
_OTHER_NAMES = {
    "loop.learning_rate": ("lr", "rate", "step_size", "eta"),
    "loop.batch_size": ("bs", "batch", "batchsize", "minibatch", "train_batch_size"),
    "loop.epochs": ("epoch", "n_epochs", "num_epochs", "num_train_epochs"),
    "loop.max_steps": ("steps", "n_steps", "num_steps", "iterations"),
    "loop.patience": ("early_stopping", "early_stop", "es_patience"),
    "loop.select": ("metric", "gauc", "monitor", "eval_metric"),
    "network.hidden": ("hidden_units", "hidden_size", "hidden_sizes", "layers", "mlp", "units", "dnn_hidden_units"),
    "network.embedding_width": (
        "embedding_dim", "embedding_size", "embed_dim", "emb_dim", "emb_size", "emb", "embedding_dimension",
    ),
    "network.dropout": ("dropout_rate", "drop", "dropout_p"),
    "network.normalisation": ("batch_norm", "batchnorm", "bn", "norm", "use_bn", "normalization"),
    "model.sharpness": ("alpha", "temperature"),
    "model.scale": ("beta",),
    "model.threshold.value": ("eps", "epsilon", "threshold"),
    "seed": ("random_state", "random_seed"),
    "threads": ("n_jobs", "num_threads", "n_threads"),
    "device": ("gpu", "cuda"),
}  # fmt: skip

# A misspelt group, such as `modle` or `dta`, has at least this similarity to its name.
_ALIKE_GROUP = 0.75

# Options of commands that are typed as if they were settings.
_OPTIONS = {
    "seeds": "3",
    "workers": "2",
    "worlds": "0,1,2",
    "models": "dnn,adasparse",
    "trials": "20",
    "baseline": "dnn",
}


def key_meant(key: str, known: Sequence[str]) -> str | None:
    """The setting that a name without section, or a name from another tool, probably means; None if none is near.

    Args:
        known: every known key, including sections.
    """
    own = key.rpartition(".")[2].lower().replace("-", "_")
    leaves = [name for name in known if not any(other.startswith(f"{name}.") for other in known)]
    alias = next((name for name, others in _OTHER_NAMES.items() if own in others), None)
    if alias is not None and any(name == alias or name.startswith(f"{alias}.") for name in known):
        return alias
    exact = [name for name in leaves if name.rpartition(".")[2] == own]
    if len(exact) == 1:
        return exact[0]
    groups = [name for name in known if "." not in name and name not in leaves]
    if "." not in key and (group := nearest(key, groups, alike=_ALIKE_GROUP)) is not None:
        return group
    # a section, for example `model`, is not a suggestion for a key, for example `model.mode`
    return nearest(key, [name for name in leaves if nearest(own, [name.rpartition(".")[2]], alike=0.6)])


def unknown_key(key: str, known: Sequence[str], *, choice: str | None = None, otherwise: str = "") -> UsageError:
    """The error for an unknown key, with the nearest known key.

    Args:
        known: every known key, including sections. choice: the override that chose the key's section, for example `model=dnn`.
        otherwise: the hint if no key is near and the section has no keys.
    """
    parent = key.rpartition(".")[0]
    beside = [name for name in known if name.rpartition(".")[0] == parent]
    close = key_meant(key, known)
    if key in _OPTIONS:
        return UsageError(f"{key} is an option, not a setting", hint=f"write --{key} {_OPTIONS[key]}")
    others = f"settings here: {', '.join(beside)}" if parent and beside else otherwise
    hint = f"did you mean {close}?" if close else others
    return UsageError(f"unknown setting {key}" + (f" for {choice}" if choice else ""), hint=hint)


def unknown_choice(group: str, name: str, offered: Sequence[str], loops: Sequence[str]) -> UsageError:
    """The error for an unknown name of a group, with the nearest known name.

    Args:
        loops: the loops; for a model, each is also offered, because it trains the DNN.
    """
    if group == "data" and looks_like_file(name):
        return UsageError(f"data={name} names a file, not a data set", hint=raw_hint(name))
    words: Mapping[str, str] = {one: one for one in offered}
    if group == "model":
        words = {**words, **{other: f"loop={other}" for other in loops if other != "standard"}}
    close = nearest(name, words)
    lead = f"did you mean {words[close]}? " if close else ""
    return UsageError(f"{group}={name}: unknown {group}", hint=f"{lead}valid names: {', '.join(words.values())}")


def looks_like_file(word: str) -> bool:
    """Whether a word is the path of a file or a folder, or has the suffix of a table file."""
    return len(word) < LONGEST_PATH and (bool(_TABLE.search(word)) or ("\0" not in word and Path(word).exists()))


def raw_hint(word: str) -> str:
    """The hint that raw files are set with `data=tabular raw=FILE`."""
    value = spelled(word)
    own = shlex.quote(f"raw={value}")
    return f"raw files are given as data=tabular {own}: adasparse prep --inspect data=tabular {own} data.label=COLUMN 'data.domain=[COLUMN]'"
