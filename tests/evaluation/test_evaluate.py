"""Evaluation measures what training trains."""

from dataclasses import replace

import pytest
import torch

from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.models.config import LinearHeadSettings, OneHotSettings
from rmem_cli.models.cores.recurrent_config import GRUSettings
from rmem_cli.models.cores.torch_rnn import GRU
from rmem_cli.models.encoders import OneHot
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.tasks.copying_memory import CopyingMemory
from rmem_cli.tasks.memory_config import CopyingMemorySettings
from rmem_cli.training.backprop import Full, TrainingStep
from rmem_cli.training.config import FullSettings


class Smoothed(SequenceModel):
    """Its loss is shared with all other classes, and an auxiliary one is added to it."""

    def step(self, batch, state):
        result = super().step(batch, state)
        uniform = -self.logits(result.outputs).log_softmax(-1).mean(-1) * result.weights
        auxiliary = {"size": result.outputs.square().sum()}
        return replace(result, losses=0.9 * result.losses + 0.1 * uniform, auxiliary=auxiliary)


def make(kind):
    torch.manual_seed(0)
    task = CopyingMemory(CopyingMemorySettings(length=3, symbols=2, alphabet=3))
    model = kind(
        OneHot(task.symbols, OneHotSettings()),
        GRU(task.symbols, GRUSettings(hidden_size=8)),
        LinearHead(8, task.classes, LinearHeadSettings()),
    )
    torch.nn.init.normal_(model.head.linear.weight, std=3)
    return model, task


def test_a_model_with_a_loss_of_its_own_is_measured_by_it_and_not_by_its_auxiliary_losses():
    model, task = make(Smoothed)
    batch = next(task.evaluation_batches("test", 8, 8, 1))
    trained = Full(FullSettings()).gradient(model, batch, None, "mean", TrainingStep(1, 0))
    measured = evaluate(model, task, "test", 8, 8, 1).metric("loss")
    assert measured == pytest.approx(trained.nll_sum / trained.weight_sum, rel=1e-6)
    assert trained.loss > measured
    plain, _ = make(SequenceModel)
    assert evaluate(plain, task, "test", 8, 8, 1).metric("loss") != pytest.approx(measured, rel=1e-3)


def test_a_model_is_measured_in_evaluation_mode_and_left_as_it_was():
    model, task = make(Smoothed)
    modes = []
    model.core.register_forward_pre_hook(lambda core, *_: modes.append(core.training))
    evaluate(model.train(), task, "test", 8, 4, 1)
    assert modes == [False, False]
    assert model.training
