"""How often each row is run."""

from typing import Annotated

from pydantic import Field, NonNegativeInt

from rmem_cli.recipe.settings import Settings, listed_once

SeedList = Annotated[list[NonNegativeInt], Field(min_length=1, max_length=1000), listed_once("a seed")]


class Seeds(Settings):
    """The part of a recipe that says how often each row is run."""

    seeds: SeedList
