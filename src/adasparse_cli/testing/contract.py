"""The contract of every model, as checks that report the problem. The project's tests run them for each packaged model."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from adasparse_cli.batches import Batch
from adasparse_cli.choices import Normalisation
from adasparse_cli.config.compose import compose
from adasparse_cli.models.base import CONTEXT, EMBEDDING, Model
from adasparse_cli.rows.dataset import Rows
from adasparse_cli.testing import sample
from adasparse_cli.training.settings import LoopSettings
from adasparse_cli.training.standard import StandardLoop
from adasparse_cli.typed import typed

ROWS = 64
# Rows of a domain that is unseen in training; `sample.SHAPE` has domains 0 to 5.
UNSEEN = (6, 99)
Make = Callable[[Normalisation], Model]


class BrokenContractError(AssertionError):
    """A model violates the contract."""


class NotApplicableError(Exception):
    """A check does not apply to a model."""


def require(holds: bool | Tensor, what: str) -> None:
    """Raise an error with the text `what` unless `holds`."""
    if not holds:
        raise BrokenContractError(what)


def one_logit_per_row(make: Make) -> None:
    """`forward` returns one finite logit per row, and a penalty that is one number."""
    prediction = make(Normalisation.none)(_rows())
    shape = tuple(prediction.logits.shape)
    require(shape == (ROWS,), f"the logits of {ROWS} rows have the shape {shape}, not ({ROWS},)")
    require(prediction.penalty.shape == (), f"the penalty has the shape {tuple(prediction.penalty.shape)}, not ()")
    require(torch.isfinite(prediction.logits).all(), "a logit is not finite")


def starts_at_the_base_rate(make: Make) -> None:
    """`start_at` shifts the mean logit by the log-odds, up to the initial head bias, which is at most 1/√8 from 0."""
    before, after = make(Normalisation.none).eval(), make(Normalisation.none).eval()
    after.start_at(0.02)
    moved = after(_rows()).logits - before(_rows()).logits
    wanted = math.log(0.02 / 0.98)
    require(abs(moved.mean().item() - wanted) <= 8**-0.5, f"it moves by {moved.mean().item():.3f}, not by {wanted:.3f}")
    require(moved.std().item() < 1e-5, "it does not move all rows alike")


def every_parameter_receives_a_gradient(make: Make) -> None:
    """After four steps in double precision; tables of which a step uses few rows have sparse gradients."""
    model = make(Normalisation.none).double()
    batch = _rows()
    assert batch.labels is not None
    batch = replace(batch, labels=batch.labels.double())
    assert batch.labels is not None
    tables = model.row_tables()
    for step in range(4):
        model.zero_grad()
        prediction = model(batch)
        torch.autograd.backward(model.loss(prediction.logits, batch.labels) + prediction.penalty)
        for name, parameter in model.named_parameters():
            require(parameter.grad is not None, f"{name} receives no gradient")
            assert parameter.grad is not None
            sparse = name in tables and name != CONTEXT
            require(parameter.grad.is_sparse == sparse, f"{name} has a {'dense' if sparse else 'sparse'} gradient")
            gradient = parameter.grad.to_dense()
            require(step < 3 or bool(gradient.abs().max() > 1e-10), f"{name} has a gradient of 0")
            parameter.data -= 0.1 * gradient


def rows_do_not_influence_one_another_in_evaluation(make: Make) -> None:
    """In evaluation a row has the same logit alone and with others, in any order, with each normalisation."""
    for normalisation in Normalisation:
        model, batch = make(normalisation).eval(), _rows()
        whole = model(batch).logits
        alone = torch.cat([model(sample.part(batch, torch.tensor([k]))).logits for k in range(ROWS)])
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
        require(_close(whole, alone), f"a row alone has another logit (normalisation {normalisation})")
        mixed = model(sample.part(batch, order)).logits
        require(_close(mixed, whole[order]), f"the order of rows matters (normalisation {normalisation})")


def evaluation_leaves_no_trace(make: Make) -> None:
    """Scoring changes no parameter and no buffer, with each normalisation."""
    for normalisation in Normalisation:
        model = make(normalisation).eval()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        model(_rows())
        model(_rows(seed=10))
        for name, value in model.state_dict().items():
            require(torch.equal(before[name], value), f"{name} changes in evaluation (normalisation {normalisation})")


def saved_weights_predict_the_same(make: Make) -> None:
    """All state is in parameters and persistent buffers: another instance with the same state scores the same."""
    model, other = make(Normalisation.none), make(Normalisation.none)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    model.schedule(0.9)
    other.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
    same = torch.equal(model.eval()(_rows()).logits, other.eval()(_rows()).logits)
    require(same, "another instance with the same state_dict scores otherwise: some state is not saved")


def unseen_ids_and_domains_are_scored(make: Make) -> None:
    """Id 0 of every field, and a domain that is unseen in training, have a finite logit."""
    batch = _rows(4)
    unseen = replace(
        batch,
        field_ids=torch.zeros_like(batch.field_ids),
        domain_ids=torch.full_like(batch.domain_ids, UNSEEN[1]),
        conditions=torch.zeros_like(batch.conditions),
    )
    require(torch.isfinite(make(Normalisation.none).eval()(unseen).logits).all(), "a logit is not finite")


def an_unseen_domain_is_scored_by_the_shared_part(make: Make) -> None:
    """After training, every unseen domain has the same score, independent of the private weights of domains."""
    model, few = make(Normalisation.none), sample.rows(200, seed=4)
    _train(model, few, few)
    model.eval()
    batch = _rows()
    unseen = [model(replace(batch, domain_ids=torch.full_like(batch.domain_ids, place))).logits for place in UNSEEN]
    require(torch.equal(*unseen), "two domains that are not of training have different scores")
    with torch.no_grad():
        for name, table in model.row_tables().items():
            if name not in (EMBEDDING, CONTEXT):
                table[: sample.SHAPE.num_domains] += 1.0
    again = model(replace(batch, domain_ids=torch.full_like(batch.domain_ids, UNSEEN[0]))).logits
    require(torch.equal(again, unseen[0]), "weights of domains of training enter the score of another domain")


def a_small_batch_can_be_learnt_by_heart(make: Make) -> None:
    """300 passes over 48 rows reach an AUC above 0.95 on them."""
    few = sample.rows(48, seed=4)
    again = torch.arange(48).repeat(300)  # one epoch of many small steps: each epoch costs a checkpoint
    many = replace(
        few,
        **{name: getattr(few, name)[again] for name in ("field_ids", "domain_ids", "condition_ids", "labels")},
        **{name: getattr(few, name)[again.numpy()] for name in ("domains", "users", "sources", "lines")},
    )
    best = _train(make(Normalisation.none), many, few, batch_size=48, epochs=1, learning_rate=0.01, evaluations=4)
    require(best > 0.95, f"the best AUC is {best:.3f}")


def costs_add_up(make: Make) -> None:
    """`cost()` counts all parameters and the multiply-adds that torch counts, and allocates no memory."""
    model = make(Normalisation.none).eval()
    cost = model.cost()
    total = cost.embedding_parameters + cost.backbone_parameters + cost.domain_parameters
    held = sum(parameter.numel() for parameter in model.parameters())
    require(total == held, f"cost() counts {total:,} parameters, the model has {held:,}")
    batch = _rows()
    different = [int((batch.condition_ids == k).nonzero()[0]) for k in range(2)]
    counted = []
    for chosen in (different[:1], different):
        with FlopCounterMode(display=False, custom_mapping=_IN_PLACE) as counter, torch.no_grad():
            model(sample.part(batch, torch.tensor(chosen)))
        counted.append(counter.get_total_flops() // 2)
    # costs per batch are in both counts and cancel out
    said, found = cost.backbone_multiply_adds + cost.domain_multiply_adds, counted[1] - counted[0]
    require(said == found, f"cost() says {said:,} multiply-adds per row, torch counts {found:,}")
    with torch.device("meta"):
        require(make(Normalisation.none).cost() == cost, "built on the meta device, the model says another cost")


def the_context_is_seen(make: Make) -> None:
    """Each part that reads the domain context takes at least 2 % of its variance from it at initialisation."""
    model = make(Normalisation.none)
    if not model.reads_context:
        raise NotApplicableError
    shares = model.context_shares(sample.rows(2000, 2).batch(slice(0, 2000)))
    require(bool(shares), "reads_context is True, but no part derives from ReadsContext")
    for part, share in shares.items():
        require(share > 0.02, f"{part} takes {share:.2%} of its variance from the domain context")


CHECKS: Mapping[str, Callable[[Make], None]] = {
    check.__name__.replace("_", " "): check
    for check in (
        one_logit_per_row,
        starts_at_the_base_rate,
        every_parameter_receives_a_gradient,
        rows_do_not_influence_one_another_in_evaluation,
        evaluation_leaves_no_trace,
        saved_weights_predict_the_same,
        unseen_ids_and_domains_are_scored,
        an_unseen_domain_is_scored_by_the_shared_part,
        a_small_batch_can_be_learnt_by_heart,
        costs_add_up,
        the_context_is_seen,
    )
}
# Checks of a model with its packaged network; the others rescale every embedding so that effects are visible.
OF_PACKAGED = frozenset({"the context is seen"})
# torch counts addmm, but not its in-place form
_IN_PLACE = {torch.ops.aten.addmm_: lambda total, left, right, out_shape: 2 * left[0] * left[1] * right[1]}


def _close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1e-5, atol=1e-6)


def _rows(count: int = ROWS, seed: int = 9) -> Batch:
    return sample.rows(count, seed).batch(slice(0, count))


def _train(model: Model, rows: Rows, judged: Rows, **changes: object) -> float:
    """Train with a small standard loop and return the best AUC on the judged rows."""
    values = {
        "batch_size": 32,
        "epochs": 3,
        "learning_rate": 0.01,
        "evaluations": 2,
        "select": "auc",
        "log_steps": 1000,
    }
    tree = {**compose("train", [])["loop"], **values, **changes, "evaluation_batch_size": 64}
    settings = typed(tree, LoopSettings, "loop")
    with tempfile.TemporaryDirectory() as folder:
        StandardLoop(model, rows, judged, sample.SHAPE.num_domains, settings, 0, Path(folder)).run()
        lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    return max(float(line.split('"auc": ')[1].split(",")[0]) for line in lines if '"valid"' in line)
