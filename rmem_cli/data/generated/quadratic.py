"""Quadratic equations, solved step by step, of the Recurrent Memory Transformer.

A row is six blocks of 30 characters, each filled up with `<pad>`:

    -3*x^2+6*x+9=0            the equation that is given
    x^2-2*x-3=0               its canonical form
    D=2^2-4*1*-3=16=4^2       the discriminant
    x=(2-4)/2=-1              the smaller root
    x=(2+4)/2=3               the larger root
    -1,3                      the answer: the different roots

and a `<pad>` at its end, so that the predictions of a block are its own characters from the second on and
the first one of the next block. The last 150 predictions count, padding included: the last five blocks but
for their very first character, which the last position of the first block predicts.

The roots are whole numbers from -99 to 99 (uniform real numbers, cut off towards zero); a fifth of the drawn
equations has none, and then the blocks of roots and answer are empty and the discriminant has no square. The
given equation is the canonical one times a whole number from -10 to 10. The published
generator may draw a discriminant of 0 among the equations without roots; here it is always negative.
"""

import numpy as np

BLOCK, BLOCKS = 30, 6
ANSWER_LENGTH = BLOCK * (BLOCKS - 1)
PAD = "<pad>"
VOCABULARY = [PAD, "<unused>", *"0123456789+-*/^=()xD;,"]
_SYMBOLS = {text: symbol for symbol, text in enumerate(VOCABULARY)}
_LARGEST_ROOT, _LARGEST_FACTOR, _LARGEST_B, _LARGEST_C = 100, 10, 200, 100**2
_WITHOUT_ROOTS = 0.2


def draw_equations(random: np.random.Generator, count: int) -> np.ndarray:
    """[count, 4] whole numbers: b, c, factor and whether there are roots (1), as `blocks_of` takes them."""
    has_roots = random.random(count) >= _WITHOUT_ROOTS
    roots = np.sort(random.uniform(-_LARGEST_ROOT, _LARGEST_ROOT, (count, 2)).astype(np.int64), axis=1)
    factor = np.round(random.uniform(1, _LARGEST_FACTOR, count)).astype(np.int64)
    factor *= random.choice([-1, 1], count)
    lonely_b = random.integers(_LARGEST_B, size=count)
    lonely_c = random.integers(lonely_b**2 // 4 + 1, _LARGEST_C)
    b = np.where(has_roots, -roots.sum(axis=1), lonely_b)
    c = np.where(has_roots, roots.prod(axis=1), lonely_c)
    return np.stack([b, c, factor, has_roots], axis=1)


def blocks_of(b: int, c: int, factor: int, has_roots: int) -> list[str]:
    """The six blocks for the equation factor (x^2 + b x + c) = 0.

    Args:
        b: Coefficient of x.
        c: Constant term.
        factor: What the given equation is multiplied by; not 0.
        has_roots: Whether b^2 - 4 c is the square of a whole number (else it must be negative).
    """
    given, canonical = polynomial(factor, factor * b, factor * c), polynomial(1, b, c)
    discriminant = b * b - 4 * c
    definition = f"D={abs(b)}^2-4*1*{c}={discriminant}"
    if not has_roots:
        return [given, canonical, definition, "", "", ""]
    root = round(discriminant**0.5)
    smaller, larger = (-b - root) // 2, (-b + root) // 2
    answer = str(smaller) if smaller == larger else f"{smaller},{larger}"
    return [
        given,
        canonical,
        f"{definition}={root}^2",
        f"x=({-b}-{root})/2={smaller}",
        f"x=({-b}+{root})/2={larger}",
        answer,
    ]


def polynomial(a: int, b: int, c: int) -> str:
    """An equation such as "-x^2+3*x-2=0": no zero terms, and no digit 1 before x."""
    terms = "".join(_term(coefficient, power) for coefficient, power in ((a, "x^2"), (b, "x"), (c, "")))
    return terms.removeprefix("+") + "=0"


def _term(coefficient: int, power: str) -> str:
    if coefficient == 0:
        return ""
    if power and abs(coefficient) == 1:
        return ("+" if coefficient > 0 else "-") + power
    return f"{coefficient:+d}" + (f"*{power}" if power else "")


def encode(equations: np.ndarray) -> np.ndarray:
    """Rows [n, 181] of symbols, for equations [n, 4] as `draw_equations` gives them."""
    rows = (blocks_of(*numbers) for numbers in equations.tolist())
    text = "".join(block.ljust(BLOCK, "\0") for blocks in rows for block in blocks)
    table = np.zeros(128, np.uint8)
    for character, symbol in _SYMBOLS.items():
        if len(character) == 1:
            table[ord(character)] = symbol
    symbols = table[np.frombuffer(text.encode("ascii"), np.uint8)].reshape(len(equations), BLOCK * BLOCKS)
    return np.pad(symbols, ((0, 0), (0, 1)))


def quadratic_rows(random: np.random.Generator, count: int) -> np.ndarray:
    """Rows [count, 181] of equations that are drawn."""
    return encode(draw_equations(random, count))
