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


def by(curriculum):
    stages = {"stage_steps": 10} if curriculum in ("naive", "combined") else {}
    return ProgramExecution(ProgramExecutionSettings(length=3, nesting=2, curriculum=curriculum, **stages))


def test_the_naive_curriculum_raises_length_then_nesting():
    stages = [by("naive").difficulty("naive", step, Random(0)) for step in range(0, 100, 10)]
    assert stages == [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2), (3, 2), (3, 2), (3, 2), (3, 2)]
    assert by("naive").difficulty("naive", 9, Random(0)) == (1, 1)


@pytest.mark.parametrize(
    ("curriculum", "levels"),
    [
        ("baseline", {(3, 2)}),
        ("mix", {(length, nesting) for length in (1, 2, 3) for nesting in (1, 2)}),
        ("naive", {(2, 1)}),
    ],
)
def test_the_levels_of_a_curriculum(curriculum, levels):
    task, random = by(curriculum), Random(0)
    assert {task.difficulty(curriculum, 15, random) for _ in range(200)} == levels


def test_the_combined_curriculum_takes_both():
    task, random = by("combined"), Random(0)
    drawn = [task.difficulty("combined", 0, random) for _ in range(600)]
    assert len(set(drawn)) == 6
    assert drawn.count((1, 1)) / 600 == pytest.approx(1 / 2 + 1 / 12, abs=0.06)


@pytest.mark.parametrize("curriculum", ["naive", "mix", "combined"])
def test_evaluation_is_always_on_the_full_difficulty(curriculum):
    for split in ("train", "valid", "test"):
        ours, full = (next(by(each).evaluation_batches(split, 9, 9, 1)) for each in (curriculum, "baseline"))
        assert ours.inputs.equal(full.inputs)
    trained, hardest = (by(each).training_batch(0, 9, 1).inputs for each in (curriculum, "baseline"))
    assert (trained != BLANK).sum() < (hardest != BLANK).sum()


def test_a_curriculum_in_stages_needs_their_length_and_no_other_has_one():
    with pytest.raises(ValidationError, match="naive needs stage_steps"):
        ProgramExecutionSettings(length=3, nesting=2, curriculum="naive")
    with pytest.raises(ValidationError, match="mix has no stages; leave out stage_steps"):
        ProgramExecutionSettings(length=3, nesting=2, curriculum="mix", stage_steps=10)


def test_the_longest_numbers_can_be_printed():
    assert ProgramExecution(ProgramExecutionSettings(length=1000, nesting=20)).make(2, 1, "test", 0)
    with pytest.raises(ValidationError, match="less than or equal to 1000"):
        ProgramExecutionSettings(length=1001, nesting=1)


def test_examples_are_a_function_of_seed_split_and_step():
    task = ProgramExecution(
        ProgramExecutionSettings(length=3, nesting=2, curriculum="combined", stage_steps=5)
    )
    same = task.training_batch(7, 4, 1)
    assert torch.equal(task.training_batch(7, 4, 1).inputs, same.inputs)
    others = [task.training_batch(7, 4, 2), task.make(4, 1, "test", 7), task.training_batch(8, 4, 1)]
    for other in (batch.inputs for batch in others):
        assert other.shape != same.inputs.shape or not torch.equal(other, same.inputs)
