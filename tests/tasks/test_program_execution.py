"""Programs to be executed by reading them."""

import contextlib
import io
import re
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rmem_cli.tasks.program_config import ProgramExecutionSettings
from rmem_cli.tasks.program_execution import ANSWER, BLANK, SYMBOLS, ProgramExecution
from rmem_cli.tasks.programs import CHARACTERS, ProgramWriter

sizes = given(length=st.integers(1, 6), nesting=st.integers(1, 20), seed=st.integers(0, 9999))


def printed(program):
    """What Python itself prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(program, {})
    return output.getvalue()


def texts(batch):
    """Program and answer of each row."""
    characters = {number: character for character, number in SYMBOLS.items()}
    for inputs, targets, weight in zip(batch.inputs, batch.targets, batch.weight, strict=True):
        due = weight.nonzero().flatten().tolist()
        program = "".join(characters[int(symbol)] for symbol in inputs[: due[0] + 1])
        answer = "".join(ANSWER[int(targets[step])] for step in due)
        shown = "".join(characters[int(symbol)] for symbol in inputs[due[0] + 1 : due[-1] + 1])
        assert due == list(range(due[0], due[-1] + 1))
        assert (inputs[due[-1] + 1 :] == BLANK).all()
        assert shown == answer[:-1]
        yield program, answer


@sizes
def test_the_answer_is_what_python_prints(length, nesting, seed):
    program, value = ProgramWriter(Random(seed), length).write(nesting)
    assert printed(program) == f"{value}\n"


@sizes
def test_numbers_and_operations_are_as_many_as_asked_for(length, nesting, seed):
    program, _ = ProgramWriter(Random(seed), length).write(nesting)
    assert set(program) <= set(CHARACTERS)
    bound = max(10**length - 1, 4 * length)
    assert all(1 <= int(number) <= bound for number in re.findall(r"\d+", program))
    operations = len(re.findall(r"[-+*](?!=)", program)) + program.count("for") + program.count("if")
    assert operations == nesting


@sizes
def test_targets_follow_the_program_and_the_answer_so_far_is_shown(length, nesting, seed):
    for program, answer in texts(
        ProgramExecution(ProgramExecutionSettings(length=length, nesting=nesting)).make(3, seed, "test", 0)
    ):
        assert program.endswith(")\n")
        assert f"{printed(program)[:-1]}." == answer


def test_every_operation_occurs():
    programs = "".join(ProgramWriter(Random(seed), 2).write(3)[0] for seed in range(50))
    assert all(piece in programs for piece in ("+", "-", "*", "for x in range(", " if ", "+=", "-="))


def test_the_naive_curriculum_raises_length_then_nesting():
    task = ProgramExecution(ProgramExecutionSettings(length=3, nesting=2, curriculum="naive", stage_steps=10))
    stages = [task.difficulty("train", step, Random(0)) for step in range(0, 100, 10)]
    assert stages == [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2), (3, 2), (3, 2), (3, 2), (3, 2)]
    assert task.difficulty("train", 9, Random(0)) == (1, 1)


@pytest.mark.parametrize(
    ("curriculum", "levels"),
    [
        ("baseline", {(3, 2)}),
        ("mix", {(length, nesting) for length in (1, 2, 3) for nesting in (1, 2)}),
        ("naive", {(2, 1)}),
    ],
)
def test_the_levels_of_a_curriculum(curriculum, levels):
    task, random = (
        ProgramExecution(
            ProgramExecutionSettings(length=3, nesting=2, curriculum=curriculum, stage_steps=10)
        ),
        Random(0),
    )
    assert {task.difficulty("train", 15, random) for _ in range(200)} == levels


def test_the_combined_curriculum_takes_both():
    task, random = (
        ProgramExecution(
            ProgramExecutionSettings(length=3, nesting=2, curriculum="combined", stage_steps=10)
        ),
        Random(0),
    )
    drawn = [task.difficulty("train", 0, random) for _ in range(600)]
    assert len(set(drawn)) == 6
    assert drawn.count((1, 1)) / 600 == pytest.approx(1 / 2 + 1 / 12, abs=0.06)


@pytest.mark.parametrize("curriculum", ["naive", "mix", "combined"])
def test_evaluation_is_always_on_the_full_difficulty(curriculum):
    task, random = (
        ProgramExecution(
            ProgramExecutionSettings(length=3, nesting=2, curriculum=curriculum, stage_steps=10)
        ),
        Random(0),
    )
    assert {task.difficulty(split, 0, random) for split in ("valid", "test") for _ in range(50)} == {(3, 2)}


def test_a_curriculum_in_stages_needs_their_length():
    with pytest.raises(ValidationError, match="naive needs stage_steps"):
        ProgramExecutionSettings(length=3, nesting=2, curriculum="naive")


def test_examples_are_a_function_of_seed_split_and_step():
    task = ProgramExecution(
        ProgramExecutionSettings(length=3, nesting=2, curriculum="combined", stage_steps=5)
    )
    same = task.make(4, 1, "train", 7)
    assert torch.equal(task.make(4, 1, "train", 7).inputs, same.inputs)
    for seed, split, step in ((2, "train", 7), (1, "test", 7), (1, "train", 8)):
        other = task.make(4, seed, split, step).inputs
        assert other.shape != same.inputs.shape or not torch.equal(other, same.inputs)
