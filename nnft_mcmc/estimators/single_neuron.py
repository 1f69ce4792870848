r"""Connected functions at finite width from the moments of one neuron: Williams' technique, lectures eqs. (36)-(40),
made general.

For N independent and identically distributed neurons, phi = N^-1/2 sum_i psi_i,

    kappa_n[phi] = N^(1 - n/2) sum_{even partitions pi} (-1)^{|pi|-1} (|pi|-1)! prod_{B in pi} <psi_B>,

and <psi_B> is an average over the parameters of one neuron: exact in N, and without the disconnected part of the
network's fluctuations, which hides Gc4 ~ 1/N from draws of whole networks. Williams integrates over the output weights
exactly; so does this where they are normal,

    <psi_1 .. psi_n | f> = sum_{pairings} prod C_ij,     C_ij = N sum_c Var(a_c) f_c(x_i) f_c(x_j),

with features f of one component or several, and samples only the features. Output weights of another law are sampled.
Unbiased, with a jackknife error (`statistics.k_statistics`). Source: C. K. I. Williams, Neural Comput. 10 (1998) 1203.
"""

import functools
import itertools
import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float
from numpy.typing import NDArray

from nnft_mcmc import _checks
from nnft_mcmc.architectures import Architecture, IidNeurons
from nnft_mcmc.estimators.n_point import Products
from nnft_mcmc.estimators.streaming import Batch, Progress, Statistic, stream
from nnft_mcmc.statistics import CumulantAccumulator, CumulantEstimate
from nnft_mcmc.statistics.partitions import Block, pairings

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Williams:
    """Connected functions (K,) at `width`, each of order `orders`, from the cumulants `neuron` of N^1/2 one neuron."""

    neuron: CumulantEstimate
    orders: NDArray[np.int64]
    width: int
    batch: Batch

    def at_width(self, width: int) -> "Williams":
        """The same draws at another width; nothing is computed again."""
        return replace(self, width=_checks.integer("width", width, 1))

    @property
    def cumulants(self) -> CumulantEstimate:
        """The estimate at `width`."""
        factor = self.width ** (1 - self.orders / 2)
        return CumulantEstimate(factor * self.neuron.value, factor * self.neuron.replicas, self.neuron.num_draws)

    @property
    def value(self) -> FloatArray:
        """kappa_n[phi], (K,)."""
        return self.cumulants.value

    @property
    def error(self) -> FloatArray:
        """One standard error, (K,)."""
        return self.cumulants.error

    @property
    def error_dof(self) -> int:
        """Degrees of freedom of error^2."""
        return self.neuron.error_dof

    @property
    def ess(self) -> float:
        """Number of neurons drawn."""
        return self.neuron.ess


class NeuronProducts(Statistic):
    """Products of psi over the monomials, averaged over normal output weights of the given standard deviations."""

    architecture: IidNeurons
    points: Float[Array, "points dim"]
    products: Products
    deviations: Float[Array, "*components"] | None

    def draw(self, key: Array) -> Float[Array, " values"]:
        architecture, prior = self.architecture, self.architecture.neuron_prior()
        names = [name for name in prior if name != "amplitudes" or self.deviations is None]
        drawn = {n: prior[n].sample(k) for n, k in zip(names, jax.random.split(key, len(names)), strict=True)}
        theta = jax.lax.optimization_barrier(drawn)

        def value(x: Float[Array, " dim"]) -> Array:
            if self.deviations is None:
                return architecture.neuron(theta, x)
            return self.deviations * architecture.feature(theta, x)

        return math.sqrt(architecture.width) * jax.vmap(value)(self.points).reshape(-1)

    def numbers(self, values: Float[Array, "values draws"]) -> Float[Array, "numbers draws"]:
        if self.deviations is None:
            return self.products(values)
        components = values.shape[0] // self.points.shape[0]
        if components == 1:
            factors = [
                jnp.full((len(m), 1), math.prod(range(1, m.shape[1], 2)), values.dtype) for m in self.products.by_size
            ]
            return jnp.concatenate(factors) * self.products(values)
        features = values.reshape(-1, components, values.shape[-1])
        return jnp.concatenate([_over_pairings(features, m) for m in self.products.by_size])


def _over_pairings(features: Float[Array, "points components draws"], monomials: Array) -> Array:
    """sum_{pairings} prod C_ij of the points of each monomial, (monomials, draws)."""
    order = monomials.shape[1]
    f = [features[monomials[:, k]] for k in range(order)]
    pairs: list[Block] = list(itertools.combinations(range(order), 2))
    c = {pair: jnp.sum(f[pair[0]] * f[pair[1]], axis=1) for pair in pairs}
    terms = [functools.reduce(operator.mul, [c[block] for block in pairing]) for pairing in pairings(order)]
    return functools.reduce(operator.add, terms)


def williams(
    architecture: IidNeurons,
    key: Array,
    num_draws: int,
    index_tuples: Iterable[Sequence[int]],
    points: ArrayLike,
    *,
    num_blocks: int = 128,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Williams:
    """Connected functions at tuples of 2, 4 or 6 numbers of `points` (P, dim), from `num_draws` single neurons.

    The neurons must be symmetric under psi -> -psi, as they are for every symmetric law of output weights.
    """
    iid_neurons(architecture)
    at = np.asarray(points, dtype=np.float64)
    if at.ndim != 2 or at.shape[1] != architecture.dim:
        raise _checks.InputError(f"points has shape {at.shape}; it must be (P, {architecture.dim}).")
    accumulator = CumulantAccumulator(index_tuples, num_blocks)
    largest = max(max(indices) for indices in accumulator.index_tuples)
    if largest >= len(at):
        raise _checks.InputError(f"index_tuples names point {largest}; points are numbered 0 to {len(at) - 1}.")
    products = Products(accumulator.monomials)
    deviations = normal_deviations(architecture.neuron_prior()["amplitudes"])
    statistic = NeuronProducts(architecture, jnp.asarray(at), products, deviations)
    streamed = stream(statistic, key, num_draws, num_blocks, batch_size, progress)
    accumulator.add(products.in_order(streamed.sums), streamed.counts)
    orders = np.array([len(indices) for indices in accumulator.index_tuples])
    return Williams(accumulator.estimate(), orders, architecture.width, streamed.batch)


def iid_neurons(architecture: Architecture) -> IidNeurons:
    """The architecture, if its neurons are i.i.d."""
    if not isinstance(architecture, IidNeurons):
        raise _checks.InputError(
            f"{type(architecture).__name__} is not a sum of i.i.d. neurons, whose moments are all that Williams'"
            " technique needs; estimate its correlators from draws of whole networks."
        )
    return architecture


def normal_deviations(law: dist.Distribution) -> Array | None:
    """Standard deviations of output weights that are independent, normal and of mean zero; None for another law."""
    base = law
    while isinstance(base, (dist.ExpandedDistribution, dist.Independent)):
        base = base.base_dist
    if not isinstance(base, dist.Normal) or np.any(np.asarray(base.loc) != 0.0):
        return None
    return jnp.sqrt(jnp.asarray(law.variance))
