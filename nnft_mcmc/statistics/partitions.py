"""Set partitions: the combinatorics of joint moments and cumulants.

    <x_1 .. x_n>   = sum_pi prod_{B in pi} kappa(B)
    kappa(1 .. n)  = sum_pi (-1)^{|pi|-1} (|pi|-1)! prod_{B in pi} <B>

over all partitions pi of {1 .. n} into blocks B; <B> is the mean of the product over the block. Where every odd moment
vanishes, partitions into blocks of even size are all that is left. Source: McCullagh, Tensor Methods in Statistics
(1987), chapters 2 and 3.
"""

import math
from collections.abc import Container, Iterator
from itertools import combinations

from nnft_mcmc._checks import integer

Block = tuple[int, ...]
Partition = tuple[Block, ...]

LARGEST_ORDER = 10


def set_partitions(n: int, even: bool = False) -> Iterator[Partition]:
    """Partitions of (0, .., n-1), n <= 10, blocks and their elements in increasing order; `even`: even blocks alone.

    There are 1, 2, 5, 15, 52, 203, .. (Bell numbers) of them, and 1, 4, 31, 379, 6556 even ones at n = 2, 4, .., 10.
    """
    n = integer("n", n, 0, LARGEST_ORDER)
    return _partitions(tuple(range(n)), range(2, n + 1, 2) if even else range(1, n + 1))


def pairings(n: int) -> tuple[Partition, ...]:
    """The (n-1)!! ways to pair (0, .., n-1), n <= 10; none for odd n."""
    return tuple(_partitions(tuple(range(integer("n", n, 0, LARGEST_ORDER))), (2,)))


def moebius(partition: Partition) -> int:
    """(-1)^{|pi|-1} (|pi|-1)!, the weight of a partition in the cumulant."""
    blocks = len(partition)
    return (-1) ** (blocks - 1) * math.factorial(blocks - 1)


def _partitions(indices: Block, sizes: Container[int]) -> Iterator[Partition]:
    if not indices:
        yield ()
        return
    first, rest = indices[0], indices[1:]
    for others in (chosen for k in range(len(indices)) if k + 1 in sizes for chosen in combinations(rest, k)):
        remaining = tuple(i for i in rest if i not in others)
        for partition in _partitions(remaining, sizes):
            yield ((first, *others), *partition)
