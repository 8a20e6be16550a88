"""Whole ticks: the exact integers in which every price and volume is held, and their decimal text.

Nothing else lives here: no limits, no units, no JSON. No binary float may pass through this module in
either direction, and nothing is ever rounded.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import lru_cache
from typing import Any, Final

MAX_TEXT: Final = 40
MAX_DECIMALS: Final = 9
MAX_SIZE: Final = Decimal(1_000_000_000)
INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

_DECIMAL_TEXT: Final = re.compile(r"(-?[0-9]+)(?:\.([0-9]+))?").fullmatch
# More digits than any acceptable number has: what loses a non-zero digit here is no multiple of a tick.
_EXACT: Final = Context(prec=100, traps=[Inexact, InvalidOperation])
_TABLED_DIGITS: Final = 3
_REMEMBERED: Final = 1 << 14

# What a binary float leaves behind, or a slip: no price is meant by it.
_NEGATIVE_ZERO: Final = "must not be a negative zero"


class TickError(ValueError):
    """A value that is no whole number of ticks; the text continues a sentence that begins with its name."""


@lru_cache(maxsize=16)
def _tables(scale: int, unit: int) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Ticks of every short integer part and of every short fraction that is itself a whole number of ticks.

    Two look-ups and a sum replace a regular expression and a conversion for nearly every number that people
    send; what the tables lack takes the long way. Keys are ASCII digits only, so a hit is also a valid text.
    """
    wholes, fractions = {}, {}
    for length in range(1, _TABLED_DIGITS + 1):
        for number in range(10**length):
            text = f"{number:0{length}d}"
            ticks, rest = divmod(number * scale, unit)
            if not rest:
                wholes[text] = ticks
            ticks, rest = divmod(number * scale, unit * 10**length)
            if not rest:
                fractions[text] = ticks
    return wholes, fractions


def _fixed(value: int, decimals: int) -> str:
    """`value` x 10^-`decimals` with exactly that many decimals."""
    if not decimals:
        return str(value)
    if value < 0:
        return f"-{_fixed(-value, decimals)}"
    digits = str(value).zfill(decimals + 1)
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


class _Remembered(dict[Any, Any]):
    """Results of a function by its argument, the latest few thousand: those of arguments of one type only, because what
    is equal to a number need not be one. True is no price, though 1 may be."""

    def __init__(self, function: Callable[[Any], Any], kind: type) -> None:
        super().__init__()
        self._function = function
        self._kind = kind

    def __missing__(self, argument: object) -> object:
        result = self._function(argument)
        if type(argument) is self._kind:
            if len(self) == _REMEMBERED:
                self.clear()
            self[argument] = result
        return result


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick size such as 0.01, 0.05 or 5: at most 9 decimals, above zero, at most 10^9.

    `decimals` is as the size was written: a tick of 0.10 shows 4.50, a tick of 0.1 shows 4.5.
    """

    size: Decimal
    decimals: int = field(init=False)
    _scale: int = field(init=False, repr=False)
    _unit: int = field(init=False, repr=False)
    _wholes: Mapping[str, int] = field(init=False, repr=False, compare=False)
    _fractions: Mapping[str, int] = field(init=False, repr=False, compare=False)
    # `parse` and `format` as look-ups: prices and volumes repeat, and to find one again takes a tenth of the time.
    ticks_of: Mapping[object, int] = field(init=False, repr=False, compare=False)
    text_of: Mapping[int, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        exponent = self.size.as_tuple().exponent
        if not isinstance(exponent, int) or not 0 < self.size <= MAX_SIZE or exponent < -MAX_DECIMALS:
            raise TickError(
                f"must be a decimal number above 0, at most {MAX_SIZE} and with at most "
                f"{MAX_DECIMALS} decimals, like 0.01"
            )
        decimals = max(0, -exponent)
        scale = 10**decimals
        unit = int(self.size * scale)
        wholes, fractions = _tables(scale, unit)
        for name, value in {
            "decimals": decimals,
            "_scale": scale,
            "_unit": unit,
            "_wholes": wholes,
            "_fractions": fractions,
            "ticks_of": _Remembered(self.parse, str),
            "text_of": _Remembered(self.format, int),
        }.items():
            object.__setattr__(self, name, value)

    def parse(self, value: object) -> int:
        """Whole ticks of a text (`-?[0-9]+(.[0-9]+)?`, at most 40 characters), an int or a Decimal.

        Raises TickError for anything that is not exactly a number of ticks within a signed 64-bit integer,
        and TypeError for a float: one that came this far was parsed wrongly by us, not sent wrongly to us.
        """
        if isinstance(value, str):
            whole, _, fraction = value.partition(".")
            try:
                # "4." must not pass for "4": without a fraction the look-up is of the text as it came.
                return self._wholes[whole] + self._fractions[fraction] if fraction else self._wholes[value]
            except KeyError:
                return self._parse_text(value)
        if isinstance(value, Decimal):
            whole, _, fraction = str(value).partition(".")
            try:
                return self._wholes[whole] + self._fractions[fraction]
            except KeyError:
                return self._parse_decimal(value)
        if isinstance(value, float):
            raise TypeError("a binary float reached a price or a volume; parse JSON numbers as Decimal")
        if isinstance(value, int) and not isinstance(value, bool):
            if value.bit_length() > 128:
                raise TickError("is too large" if value > 0 else "is too small")
            return self._ticks(value, 1)
        raise TickError(f"must be a decimal number like {self._example()}")

    def format(self, ticks: int) -> str:
        """Exact fixed-point text with the tick's number of decimals: `4.50`, `-0.05`."""
        return _fixed(ticks * self._unit, self.decimals)

    def _parse_text(self, value: str) -> int:
        if len(value) > MAX_TEXT:
            raise TickError(f"must be a decimal number like {self._example()}, in at most {MAX_TEXT} characters")
        match = _DECIMAL_TEXT(value)
        if match is None:
            raise TickError(f"must be a decimal number like {self._example()}")
        whole, fraction = match.groups(default="")
        numerator = int(whole + fraction)
        if not numerator and value.startswith("-"):
            raise TickError(_NEGATIVE_ZERO)
        return self._ticks(numerator, 10 ** len(fraction))

    def _parse_decimal(self, value: Decimal) -> int:
        if not value.is_finite():
            raise TickError(f"must be a decimal number like {self._example()}")
        if not value:
            if value.is_signed():
                raise TickError(_NEGATIVE_ZERO)
            return 0
        # Far exponents are settled before any integer is built from them: 1e999999999 has a billion digits.
        if value.adjusted() > MAX_TEXT:
            raise TickError("is too large" if value > 0 else "is too small")
        try:
            if value.adjusted() < -MAX_DECIMALS:
                raise Inexact
            return self._ticks(*_EXACT.plus(value).as_integer_ratio())
        except Inexact:
            raise TickError(f"must be a multiple of {self.format(1)}") from None

    def _ticks(self, numerator: int, denominator: int) -> int:
        ticks, rest = divmod(numerator * self._scale, denominator * self._unit)
        if rest:
            raise TickError(f"must be a multiple of {self.format(1)}")
        if not INT64_MIN <= ticks <= INT64_MAX:
            raise TickError("is too large" if ticks > 0 else "is too small")
        return ticks

    def _example(self) -> str:
        """A number that this tick accepts: 4.25 wherever it does."""
        usual = Decimal("4.25")
        return str(usual) if not usual % self.size else self.format(1)


def amount(price_ticks: int, volume_ticks: int, price_tick: Tick, volume_tick: Tick) -> str:
    """Exact price x volume (INR) as a decimal text with the decimals of both ticks together."""
    product = price_ticks * price_tick._unit * volume_ticks * volume_tick._unit
    return _fixed(product, price_tick.decimals + volume_tick.decimals)
