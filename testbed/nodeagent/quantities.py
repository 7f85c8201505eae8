"""Kubernetes quantities (`100m`, `64Mi`, `1e3`) as numbers. Pure.

Source of the grammar: k8s.io/apimachinery/pkg/api/resource, the type Quantity.
"""

import re
from decimal import Decimal

_SUFFIXES = {
    "n": Decimal(10) ** -9,
    "u": Decimal(10) ** -6,
    "m": Decimal(10) ** -3,
    "": Decimal(1),
    **{suffix: Decimal(10) ** power for suffix, power in zip("kMGTPE", range(3, 21, 3), strict=True)},
    **{f"{suffix}i": Decimal(2) ** power for suffix, power in zip("KMGTPE", range(10, 70, 10), strict=True)},
}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?)")


def parse_quantity(text: str | int | float) -> Decimal:
    """Return the value of a quantity in its base unit (cores, bytes, pieces).

    Raises:
        ValueError: not a quantity.
    """
    found = _QUANTITY.fullmatch(str(text).strip())
    if found is None:
        raise ValueError(f"{text!r} is not a Kubernetes quantity such as 100m, 2 or 64Mi")
    number, exponent, suffix = found.groups()
    if exponent is not None:
        return Decimal(number).scaleb(int(exponent))
    return Decimal(number) * _SUFFIXES[suffix or ""]


def in_units(value: Decimal, divisor: Decimal) -> str:
    """Return `value / divisor` rounded up, as resourceFieldRef writes it."""
    quotient, rest = divmod(value, divisor)
    return str(int(quotient) + (1 if rest else 0))
