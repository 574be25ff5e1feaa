"""Every random draw, as a function of (seed, purpose, step) and of nothing else."""

import hashlib

import torch


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed that depends on every argument and on their order.

    Example: `derive_seed(1, "data", "train", 17)`.
    """
    text = "\0".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator for the draws of one purpose, such as one training batch."""
    return torch.Generator().manual_seed(derive_seed(seed, *purpose))


def seed_dropout(seed: int, step: int, segment: int, rank: int = 0) -> None:
    """Seed torch's global generators, which dropout and zoneout draw from.

    Called before each segment of each step, so that a resumed or replayed segment drops the same units. Of
    processes that share the rows of a batch out, each drops others: other ones, all in all, than one process.
    """
    derived = derive_seed(seed, "dropout", step, segment, *([rank] if rank else []))
    # Not torch.manual_seed: where a GPU has not been used yet, that notes the whole call stack for later.
    torch.default_generator.manual_seed(derived)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(derived)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(derived)
