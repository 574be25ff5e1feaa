"""How often each row is run."""

from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeInt

from rmem_cli.recipe.settings import Settings


def _different(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("lists a seed twice")
    return seeds


SeedList = Annotated[list[NonNegativeInt], Field(min_length=1, max_length=1000), AfterValidator(_different)]


class Seeds(Settings):
    """The part of a recipe that says how often each row is run."""

    seeds: SeedList
