"""Program execution: what does this program print?"""

from collections.abc import Sequence
from random import Random

import torch

from rmem_cli.models.batch import Batch
from rmem_cli.seeding import derive_seed
from rmem_cli.tasks.base import GeneratedTask
from rmem_cli.tasks.program_config import ProgramExecutionSettings
from rmem_cli.tasks.programs import CHARACTERS, ProgramWriter

BLANK = 0
SYMBOLS = {character: number for number, character in enumerate(CHARACTERS, start=1)}
ANSWER = "0123456789-."
CLASSES = {character: number for number, character in enumerate(ANSWER)}


Written = tuple[str, str]
"""A program, and what it prints."""


class ProgramExecution(GeneratedTask[Sequence[Written]]):
    """Read a program character by character, then name what it prints, a digit at a time.

    A program of one operation on numbers of up to three digits; `/` is the end of a line:

        inputs    f = 8 1 2 / p r i n t ( ( f - 9 0 ) ) / 7 2 2
        targets                                         7 2 2 .

    A program ends with the end of its last line. From there on the input is the answer so far, the true one
    also in evaluation, and the target its next character; a full stop ends it. Loss and accuracy count the
    answer's characters only, the full stop included. Shorter sequences are filled up with a blank that
    counts for nothing.

    Programs add, subtract, multiply by small numbers, assign variables, loop and decide, on whole numbers.
    Each of their operations works on the result of the one before.

    Args:
        settings: All options.

    Source: Zaremba and Sutskever 2014, sections 3 to 5. There, the naive curriculum goes on when training
    stops to improve; here it goes on after a number of steps, so that a batch is a function of its step.
    """

    symbols = len(SYMBOLS) + 1
    classes = len(CLASSES)

    def __init__(self, settings: ProgramExecutionSettings) -> None:
        self.length = settings.length
        self.nesting = settings.nesting
        self.curriculum: str = settings.curriculum
        self.stage_steps = settings.stage_steps

    def training_batch(self, step: int, batch_size: int, seed: int) -> Batch:
        """See `Task.training_batch`; as hard as the curriculum says."""
        return self.batch(self._draw(self.curriculum, batch_size, seed, "train", step))

    def draw(self, count: int, seed: int, split: str, number: int) -> Sequence[Written]:
        """See `GeneratedTask.draw`; as hard as length and nesting say."""
        return self._draw("baseline", count, seed, split, number)

    def _draw(self, curriculum: str, count: int, seed: int, split: str, number: int) -> Sequence[Written]:
        random = Random(derive_seed(seed, "program_execution", split, number))  # noqa: S311  no secret
        examples = []
        for _ in range(count):
            length, nesting = self.difficulty(curriculum, number, random)
            program, value = ProgramWriter(random, length).write(nesting)
            examples.append((f"{program}\n", f"{value}."))
        return examples

    def batch(self, examples: Sequence[Written]) -> Batch:
        """See `GeneratedTask.batch`."""
        time = max(len(program) + len(answer) - 1 for program, answer in examples)
        inputs = torch.full((len(examples), time), BLANK)
        targets = torch.zeros_like(inputs)
        weight = torch.zeros(inputs.shape)
        for row, (program, answer) in enumerate(examples):
            text = program + answer[:-1]
            due = slice(len(program) - 1, len(text))
            inputs[row, : len(text)] = torch.tensor([SYMBOLS[character] for character in text])
            targets[row, due] = torch.tensor([CLASSES[character] for character in answer])
            weight[row, due] = 1
        return Batch(inputs, targets, weight, fresh=torch.ones(len(examples), dtype=torch.bool))

    def difficulty(self, curriculum: str, step: int, random: Random) -> tuple[int, int]:
        """Length and nesting of one example by a curriculum at a step of training."""
        if curriculum == "combined":
            curriculum = random.choice(("naive", "mix"))
        if curriculum == "mix":
            return random.randint(1, self.length), random.randint(1, self.nesting)
        if curriculum == "naive" and self.stage_steps is not None:
            stage = min(step // self.stage_steps, self.length * self.nesting - 1)
            return 1 + stage % self.length, 1 + stage // self.length
        return self.length, self.nesting
