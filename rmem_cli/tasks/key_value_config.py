"""Settings of the task of the ARMT paper: keys with values, of which one is asked for."""

import math
from typing import ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.tasks.baselines import OCCURRED, OCCURRED_WHEN, expected_largest_count, share_of_late_values

DIGITS = 16


class KeyValueRetrievalSettings(TaskSettings):
    """Associative retrieval in the form of the ARMT paper; `rmem_cli.tasks.key_value_retrieval` has an
    example.

    Attributes:
        pairs: How many keys with values there are.
        rewrite: Whether a key may come again, with another value, of which the last counts (the paper's
            `rewrite`), or all keys of an example differ (`remember`).
        key_size: Digits of a key, each one of 16.
        value_size: Digits of a value.
        vary_pairs: Whether each training batch has a number of pairs of its own, from 1 to `pairs`.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.key_value_retrieval:KeyValueRetrieval"
    metrics: ClassVar[tuple[str, ...]] = ("exact_match", "pairs_kept", "accuracy", "loss")
    generated: ClassVar[bool] = True
    feeds_back: ClassVar[bool] = True
    predicts_future: ClassVar[bool] = True
    answers_in_symbols: ClassVar[bool] = True

    kind: Literal["key_value_retrieval"] = "key_value_retrieval"
    pairs: PositiveInt
    rewrite: bool = False
    key_size: int = Field(default=1, ge=1, le=4)
    value_size: int = Field(default=1, ge=1, le=4)
    vary_pairs: bool = False

    @model_validator(mode="after")
    def _keys_suffice(self) -> Self:
        if not self.rewrite and self.pairs > self.keys:
            raise ValueError(
                f"pairs is {self.pairs}, and there are {self.keys} different keys of {self.key_size} digits; "
                "lower pairs, raise key_size, or set rewrite to true"
            )
        return self

    @property
    def keys(self) -> int:
        """How many different keys there are."""
        return int(DIGITS**self.key_size)

    @property
    def values(self) -> int:
        """How many different values there are."""
        return int(DIGITS**self.value_size)

    @property
    def pair_length(self) -> int:
        """Symbols of a pair: key, separator, value, end."""
        return self.key_size + self.value_size + 2

    def chance(self, split: str) -> dict[str, float]:
        """One of the values, each as likely as the other; that it ends then is known."""
        del split
        digits = self.value_size / (self.value_size + 1)
        return {
            **self._measured(1 / self.values),
            "accuracy": 1 / DIGITS,
            "loss": digits * math.log(DIGITS),
        }

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """Beside chance: to name the likeliest of the values that occurred, of none its key."""
        if self.rewrite:
            name, right = OCCURRED_WHEN, share_of_late_values(self.pairs, self.keys, self.values)
        else:
            name, right = OCCURRED, expected_largest_count(self.pairs, self.values) / self.pairs
        known = self._measured(right)
        if self.value_size == 1:
            known["accuracy"] = right
        return {**super().baselines(split), name: known}

    def _measured(self, right: float) -> dict[str, float]:
        """Metrics where a share of the values asked for is right."""
        return {"exact_match": right, "pairs_kept": right * self.pairs}
