"""What is said where there is too little to train on."""

from rmem_cli.tasks.like_length import too_few


def test_nothing_to_train_on_is_no_matter_of_the_batch_size():
    assert str(too_few(0, "images", 4)).startswith(
        "there are no images to train on: the training data has none"
    )
    assert "batch_size" not in str(too_few(0, "images", 4))
    assert "3 images to train on, which do not fill one batch of 4; lower" in str(too_few(3, "images", 4))
