"""Short programs in a fragment of Python, and what they print."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from string import ascii_lowercase

CHARACTERS = "\n ()*+-:<=0123456789" + ascii_lowercase
LOOP_VARIABLE = "x"
_VARIABLES = ascii_lowercase.replace(LOOP_VARIABLE, "")


@dataclass(frozen=True)
class Expression:
    """A piece of a program, and its value."""

    text: str
    value: int


@dataclass
class ProgramWriter:
    """Writes a program operation by operation, and keeps count of the values.

    Args:
        random: Source of all draws.
        length: Most digits of a number.
    """

    random: Random
    length: int
    lines: list[str] = field(default_factory=list)
    _free: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._free = list(_VARIABLES)
        self.random.shuffle(self._free)

    def write(self, nesting: int) -> tuple[str, int]:
        """A program of `nesting` operations, each on the result of the one before, and what it prints."""
        operations: list[Callable[[Expression], Expression]] = [
            self._sum,
            self._product,
            self._variable,
            self._loop,
            self._condition,
        ]
        result = self._number()
        for _ in range(nesting):
            result = self.random.choice(operations)(result)
        self.lines.append(f"print({result.text})")
        return "\n".join(self.lines), result.value

    def _number(self) -> Expression:
        value = self.random.randrange(1, 10**self.length)
        return Expression(str(value), value)

    def _small(self) -> int:
        """A factor, or how often a loop repeats: small, or a network would have to multiply at length."""
        return self.random.randint(1, 4 * self.length)

    def _pair(self, result: Expression) -> tuple[Expression, Expression]:
        """The result so far and a new number, in either order."""
        pair = [result, self._number()]
        self.random.shuffle(pair)
        return pair[0], pair[1]

    def _sum(self, result: Expression) -> Expression:
        left, right = self._pair(result)
        if self.random.random() < 0.5:
            return Expression(f"({left.text}+{right.text})", left.value + right.value)
        return Expression(f"({left.text}-{right.text})", left.value - right.value)

    def _product(self, result: Expression) -> Expression:
        factor = self._small()
        text = f"({result.text}*{factor})" if self.random.random() < 0.5 else f"({factor}*{result.text})"
        return Expression(text, result.value * factor)

    def _variable(self, result: Expression) -> Expression:
        return self._sum(self._assign(result))

    def _loop(self, result: Expression) -> Expression:
        start, change = self._pair(result)
        variable, times = self._assign(start), self._small()
        sign = self.random.choice((1, -1))
        operator = "+=" if sign > 0 else "-="
        self.lines.append(f"for {LOOP_VARIABLE} in range({times}):{variable.text}{operator}{change.text}")
        return Expression(variable.text, start.value + sign * times * change.value)

    def _condition(self, result: Expression) -> Expression:
        left, right = self._pair(result)
        small, large = self._number(), self._number()
        text = f"({left.text} if {small.text}<{large.text} else {right.text})"
        return Expression(text, left.value if small.value < large.value else right.value)

    def _assign(self, result: Expression) -> Expression:
        variable = self._free.pop()
        self.lines.append(f"{variable}={result.text}")
        return Expression(variable, result.value)
