"""What more cores would bring: a model of two parameters, and what it rests on.

Cores are used in one of two ways. *Streams*: a core classifies texts by itself, and cores slow each
other down only where they share caches and memory. *Threads*: the cores share every matrix product,
and what is not shared (Amdahl, 1967) runs on one of them. Both are described by the universal
scalability law without its second term (Gunther, 1993), which needs three sizes at least to fit:

    X(n) = n * X(1) / (1 + s * (n - 1))

`s` is the part of a text's time that does not shrink with cores; it follows from the throughput of
one and of two cores.
"""

from __future__ import annotations

from dataclasses import dataclass

CORES = (1, 2, 4, 8, 16, 32, 64)
HOUR = 3600.0


def contention(one: float, several: float, cores: int = 2) -> float:
    """Solve for `s`.

    :param one: texts a second of one core.
    :param several: of so many cores.
    :param cores: how many; at least 2.
    :return: `s`, 0 where cores brought all that they could or more.
    """
    return max(0.0, (cores * one / several - 1) / (cores - 1))


def predict(one: float, cores: float, serial: float) -> float:
    """Predict texts a second.

    :param one: of one core.
    :param cores: how many.
    :param serial: `s`.
    :return: texts a second.
    """
    return cores * one / (1 + serial * (cores - 1))


@dataclass(frozen=True)
class Size:
    """A row of the sizing table.

    :param cores: physical ones.
    :param low: texts a second, with the larger `s` that the rounds allow.
    :param middle: with the median of `s`.
    :param high: with the smaller.
    :param cost: of a million texts, in the currency of the price.
    """

    cores: int
    low: float
    middle: float
    high: float
    cost: float


def sizing(
    one: float, serial: tuple[float, float, float], price: float, vcpus_per_core: float
) -> list[Size]:
    """Predict for 1 to 64 cores.

    :param one: texts a second of one core.
    :param serial: the smallest, median and largest `s`.
    :param price: of a vCPU for an hour.
    :param vcpus_per_core: 2 where a vCPU is half a core, 1 where it is a whole one.
    :return: a row for every number of cores.
    """
    rows = []
    for cores in CORES:
        high, middle, low = (predict(one, cores, s) for s in serial)
        hours = 1e6 / middle / HOUR
        rows.append(Size(cores, low, middle, high, hours * cores * vcpus_per_core * price))
    return rows
