"""Images as sequences of pixels."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rmem_cli.data.images import open_images
from rmem_cli.errors import DataError, UsageError
from rmem_cli.tasks.image_config import ImageSequenceSettings
from rmem_cli.tasks.image_sequence import ImageSequence, bit_reversal

several = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20
)


def task_of(dataset="mnist", *, held_out=8, **fields):
    described = ImageSequenceSettings(dataset=dataset, held_out=held_out, **fields)
    return ImageSequence(described)


@pytest.fixture
def digits(write_images):
    return write_images("mnist", train=40, test=20)


@pytest.mark.parametrize(("per_step", "steps"), [(1, 784), (2, 392), (28, 28)])
def test_pixels_are_read_row_by_row(digits, per_step, steps):
    task = task_of(pixels_per_step=per_step)
    batch = next(iter(task.evaluation_batches("test", None, 20, seed=1)))
    images, labels = open_images("mnist").split("test")
    assert batch.inputs.shape == (20, steps, per_step)
    assert (task.symbols, task.classes) == (per_step, 10)
    torch.testing.assert_close(batch.inputs.flatten(1), torch.from_numpy(images / 255).float().flatten(1))
    assert batch.targets[:, -1].tolist() == labels.tolist()
    assert (batch.weight[:, -1] == 1).all()
    assert batch.weight.sum() == 20


def test_the_colours_of_a_pixel_stay_together(write_images):
    write_images("cifar10", train=10, test=4)
    task = task_of("cifar10", held_out=2, pixels_per_step=2, permutation_seed=3)
    batch = next(iter(task.evaluation_batches("test", None, 4, seed=1)))
    assert batch.inputs.shape == (4, 512, 6)
    images, _ = open_images("cifar10").split("test")
    pixels = (torch.from_numpy(images / 255).float()).view(4, 1024, 3)
    torch.testing.assert_close(batch.inputs.view(4, 1024, 3), pixels[:, task.pixel_order])


def test_one_permutation_serves_all_images_all_splits_and_all_seeds(digits):
    task, again, plain = task_of(permutation_seed=0), task_of(permutation_seed=0), task_of()
    order = task.pixel_order
    assert torch.equal(order, again.pixel_order)
    assert sorted(order.tolist()) == list(range(784))
    assert not torch.equal(order, task_of(permutation_seed=1).pixel_order)
    for split in ("train", "valid", "test"):
        permuted, straight = (next(iter(t.evaluation_batches(split, 5, 5, 1))).inputs for t in (task, plain))
        assert torch.equal(permuted, straight[:, order])
    for seed in (1, 2):
        permuted, straight = (each.training_batch(3, 4, seed).inputs for each in (task, plain))
        assert torch.equal(permuted, straight[:, order])


def test_the_order_of_the_permuted_pixels_never_changes(digits):
    assert task_of(permutation_seed=0).pixel_order[:8].tolist() == [160, 416, 30, 219, 129, 196, 783, 546]


def test_bit_reversal_reads_the_bits_of_a_number_backwards():
    assert bit_reversal(4 * 4) == [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15]
    assert bit_reversal(6) == [0, 4, 2, 1, 5, 3]  # 6 and 7 are left out


def test_bit_reversed_pixels_of_a_digit_are_those_of_ten_bits_below_784(digits):
    order = task_of(permutation="bit_reversal").pixel_order.tolist()
    assert order[:9] == [0, 512, 256, 768, 128, 640, 384, 64, 576]  # 896 is left out
    assert order[-2:] == [767, 511]  # of 1021 and 1022; 1023 is left out
    assert sorted(order) == list(range(784))


def test_bit_reversal_serves_all_images_all_splits_and_all_seeds(write_images):
    write_images("cifar10", train=40, test=20)
    task, plain = task_of("cifar10", permutation="bit_reversal"), task_of("cifar10")
    order = task.pixel_order
    assert torch.equal(order[order], torch.arange(1024))  # reversed twice, bits are as they were
    assert order[1] == 512
    for split in ("train", "valid", "test"):
        permuted, straight = (next(iter(t.evaluation_batches(split, 5, 5, 1))).inputs for t in (task, plain))
        assert torch.equal(permuted, straight[:, order])
    for seed in (1, 2):
        permuted, straight = (each.training_batch(3, 4, seed).inputs for each in (task, plain))
        assert torch.equal(permuted, straight[:, order])


@given(batch_size=st.integers(1, 32), epoch=st.integers(0, 3), seed=st.integers(0, 5))
@several
def test_every_pass_reads_each_training_image_once_in_an_order_of_its_own(digits, batch_size, epoch, seed):
    task = task_of(pixels_per_step=28)
    per_pass = task.steps_per_epoch(batch_size)
    assert per_pass == 32 // batch_size
    rows = torch.cat(
        [task.training_batch(epoch * per_pass + step, batch_size, seed).inputs for step in range(per_pass)]
    )
    images, _ = open_images("mnist").split("train")
    known = {image.tobytes() for image in images[:32]}
    read = [np.round(row.numpy() * 255).astype(np.uint8).tobytes() for row in rows]
    assert len(set(read)) == len(read) == per_pass * batch_size
    assert set(read) <= known


def test_batches_are_a_function_of_seed_and_step(digits):
    task = task_of(pixels_per_step=28)
    same = task.training_batch(9, 4, seed=1)
    assert torch.equal(task_of(pixels_per_step=28).training_batch(9, 4, seed=1).inputs, same.inputs)
    for step, seed in ((1, 1), (10, 1), (9, 2)):
        assert not torch.equal(task.training_batch(step, 4, seed=seed).inputs, same.inputs)


def test_the_images_held_out_are_the_split_for_validation(digits):
    task = task_of(pixels_per_step=28)
    labels = open_images("mnist").split("train")[1].tolist()
    for split, expected in (("train", labels[:32]), ("valid", labels[32:])):
        batches = list(task.evaluation_batches(split, None, 5, seed=1))
        assert [label for batch in batches for label in batch.targets[:, -1].tolist()] == expected


def test_sizes_that_do_not_fit_are_refused(digits):
    with pytest.raises(ValidationError, match="must divide the 784 pixels"):
        ImageSequenceSettings(dataset="mnist", pixels_per_step=3)
    with pytest.raises(ValidationError, match=r"bit_reversal and permutation_seed are two orders .* null"):
        ImageSequenceSettings(dataset="mnist", permutation="bit_reversal", permutation_seed=0)
    with pytest.raises(UsageError, match=r"task\.held_out is 40; lower it"):
        task_of(held_out=40)
    with pytest.raises(UsageError, match=r"lower train\.batch_size"):
        task_of().training_batch(0, 33, seed=1)


def test_missing_images_name_the_command_that_gets_them():
    with pytest.raises(DataError, match="rmem fetch cifar10"):
        task_of("cifar10")
