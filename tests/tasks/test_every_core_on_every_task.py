"""Any core runs on any task by its kind alone; on one with a source, any that goes step by step."""

import pytest
import torch
from small_cores import ALL, small_core

from rmem_cli.models.sequence import build_model
from rmem_cli.recipe.registry import TASKS
from rmem_cli.recipe.schema import ModelSettings, PointerGeneratorSettings
from rmem_cli.tasks.base import Task
from rmem_cli.tasks.build import open_task
from rmem_cli.training.backprop import Full, TrainingStep
from rmem_cli.training.config import FullSettings

SMALL_TASKS = {
    "copying_memory": {"length": 3},
    "copy_last_ten": {"length": 3},
    "adding": {"length": 6},
    "associative_recall": {"length": 6},
    "image_sequence": {"dataset": "mnist", "pixels_per_step": 56, "held_out": 8},
    "program_execution": {"length": 2, "nesting": 1},
    "language_model": {"dataset": "ptb", "form": "char", "segment_length": 7},
    "babi": {"number": [1, 4]},
    "document_classification": {"segment_length": 16, "segments": 2},
    "summarization": {"dataset": "own_articles", "vocabulary": 20},
    "copy": {"length": 3},
    "reverse": {"length": 4},
    "associative_retrieval": {},
    "key_value_retrieval": {"pairs": 3},
    "quadratic_equations": {},
    "memorize": {"dataset": "ptb", "form": "word", "segments": 2, "segment_length": 12},
    "detect_and_memorize": {"dataset": "ptb", "form": "word", "segments": 2, "segment_length": 12},
    "reasoning": {"dataset": "ptb", "form": "word", "segments": 1, "segment_length": 24},
    "babilong": {
        "babi_task": 1,
        "dataset": "ptb",
        "form": "word",
        "tokens": 40,
        "segment_length": 16,
        "shortest_sentence": 3,
    },
}
BATCH = 3


@pytest.fixture(params=TASKS.kinds())
def task_settings(request, write_made_up):
    settings = TASKS.settings(request.param)(kind=request.param, **SMALL_TASKS[request.param])
    for name, form in settings.data_sets():
        write_made_up(name, form)
    return settings


@pytest.fixture(params=ALL)
def core_settings(request):
    return small_core(request.param, segment_length=192)


def task_and_model(task_settings, core_settings):
    task: Task = open_task(task_settings)
    settings = ModelSettings(core=core_settings)
    if task_settings.has_source:
        if not core_settings.stepwise:
            pytest.skip("it reads segments as a whole, and such a decoder is refused with its recipe")
        own = {"architecture": "pointer_generator", "pointer_generator": PointerGeneratorSettings(size=4)}
        settings = settings.model_copy(update=own)
    return task, build_model(settings, task.symbols, task.classes, task_settings.encoder, task_settings.head)


def test_a_step_on_the_cpu_moves_every_weight_that_is_used(task_settings, core_settings):
    torch.manual_seed(0)
    task, model = task_and_model(task_settings, core_settings)
    batch = task.training_batch(0, BATCH, seed=1)
    gradient = Full(FullSettings()).gradient(model, batch, None, "mean", TrainingStep(1, 0))
    assert 0 < gradient.nll_sum < float("inf")
    used = [parameter for parameter in model.parameters() if parameter.grad is not None]
    assert used
    assert all(parameter.grad.isfinite().all() for parameter in used)
    for part in model.children():
        moved = [parameter for parameter in part.parameters() if parameter.grad is not None]
        assert not moved or any(parameter.grad.abs().sum() > 0 for parameter in moved)


def test_a_step_on_the_meta_device_needs_no_other(task_settings, core_settings):
    with torch.device("meta"):
        task, model = task_and_model(task_settings, core_settings)
    batch = task.training_batch(0, BATCH, seed=1).to(torch.device("meta"), torch.float32)
    result = model.step(batch, None)
    result.nll_sum.backward()
    assert result.nll_sum.device.type == "meta"
    assert all(value.device.type == "meta" for value in result.state.values())
    again = model.step(batch, {name: value.detach() for name, value in result.state.items()})
    assert again.nll_sum.device.type == "meta"
