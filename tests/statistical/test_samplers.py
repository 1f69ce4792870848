"""Every sampler against exact answers: tiny theories by quadrature, the virial identity, the ensemble's correlators.

Each call of `assert_consistent` has a false alarm of 1e-4; the keys are fixed. A resolution is the relative error of
<phi^2>, and <phi^4> may have twice that. Each positive has negative controls: the same numbers against the exact answer
at another coupling, and kernels with a wrong acceptance rule against the right answer.
"""

import functools
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer import MCMC

from nnft_mcmc.architectures import CosNet, GaussNet, ScalarNet
from nnft_mcmc.ensemble import Ensemble
from nnft_mcmc.insertions import PhiPower
from nnft_mcmc.lattice import Lattice
from nnft_mcmc.sampling import HMC, NUTS, Chains, Composite, GaussianFlow, PriorDraws, Refresh, RefreshMove
from nnft_mcmc.sampling.refresh import fixed_size
from nnft_mcmc.statistics import gamma_method
from tests.statistical.consistency import assert_consistent, assert_inconsistent, detectable_deviation
from tests.statistical.tiny_theories import THEORIES


def draws(ensemble, sampler, collect, seed=1):
    """collect(position) of every kept draw, (chain, draw, ...)."""
    chains = Chains(
        ensemble, sampler, jax.random.key(seed), lambda p: {"kept": {"it": collect(p)}}, sampler.num_samples
    )
    chains.warm_up(sampler.num_warmup)
    return chains.draw(sampler.num_samples)["kept"]["it"]


@functools.cache
def moments(name, sampler):
    """phi^2 and phi^4 at the site of a tiny theory."""
    theory = THEORIES[name]
    return gamma_method(draws(theory.ensemble, sampler, lambda p: p.field[theory.site] ** jnp.array([2.0, 4.0])))


SCALES = np.array([1.0, 2.0])

# The tiny theories. For each sampler: its settings, the resolution it then reaches, and a coupling told from 1 by it.

REFRESH = Refresh(num_chains=512, num_warmup=50, num_samples=2000), 0.003, 1.05
COMPOSITE = Composite(num_chains=256, num_warmup=200, num_samples=1000), 0.005, 1.1
FLOW = GaussianFlow(num_chains=256, num_warmup=200, num_samples=500), 0.01, 1.3
HMC_ONE_NEURON = HMC(num_chains=128, num_warmup=300, num_samples=800), 0.015, 1.4
HMC_TEN_NEURONS = HMC(num_chains=64, num_warmup=300, num_samples=300), 0.02, 1.6
NUTS_ONE_NEURON = NUTS(num_chains=64, num_warmup=300, num_samples=600), 0.025, 1.6
NUTS_TEN_NEURONS = NUTS(num_chains=64, num_warmup=300, num_samples=400), 0.02, 1.6

slow = pytest.mark.slow
CASES = [
    pytest.param("cos_net", *REFRESH, id="refresh-cos_net"),
    pytest.param("gauss_net", *REFRESH, id="refresh-gauss_net"),
    pytest.param("scalar_net_1", *REFRESH, id="refresh-scalar_net_1"),
    pytest.param("scalar_net_10", *REFRESH, id="refresh-scalar_net_10"),
    pytest.param("cos_net", *COMPOSITE, id="composite-cos_net"),
    pytest.param("gauss_net", *COMPOSITE, id="composite-gauss_net", marks=slow),
    pytest.param("scalar_net_1", *COMPOSITE, id="composite-scalar_net_1", marks=slow),
    pytest.param("scalar_net_10", *COMPOSITE, id="composite-scalar_net_10"),
    pytest.param("gauss_net", *FLOW, id="flow-gauss_net", marks=slow),
    pytest.param("cos_net", *HMC_ONE_NEURON, id="hmc-cos_net"),
    pytest.param("gauss_net", *HMC_ONE_NEURON, id="hmc-gauss_net", marks=slow),
    pytest.param("scalar_net_10", *HMC_TEN_NEURONS, id="hmc-scalar_net_10", marks=slow),
    pytest.param("gauss_net", *NUTS_ONE_NEURON, id="nuts-gauss_net", marks=slow),
    pytest.param("cos_net", *NUTS_ONE_NEURON, id="nuts-cos_net"),
    pytest.param("scalar_net_10", *NUTS_TEN_NEURONS, id="nuts-scalar_net_10", marks=slow),
]


@pytest.mark.parametrize(("name", "sampler", "resolution", "wrong_coupling"), CASES)
def test_sampler_reproduces_the_exact_moments(name, sampler, resolution, wrong_coupling):
    estimate, right = moments(name, sampler), THEORIES[name].exact(1.0).moments
    wrong = THEORIES[name].exact(wrong_coupling).moments
    assert_consistent(estimate, right, scale=SCALES * right, resolution=resolution)
    assert_inconsistent(estimate, wrong, scale=SCALES * right, resolution=resolution)


# Kernels that are wrong, and must be found out.


class Right(RefreshMove):
    """Nothing wrong."""


class AlwaysAccepts(RefreshMove):
    """Forgets the action."""

    def __init__(self, ensemble, *arguments):
        RefreshMove.__init__(self, ensemble.undeformed(), *arguments)


class SignFlipped(RefreshMove):
    """Accepts with exp(+change of the action)."""

    def __init__(self, ensemble, *arguments):
        flipped = eqx.tree_at(lambda e: e.local_action.coefficients, ensemble, replace_fn=np.negative)
        RefreshMove.__init__(self, flipped, *arguments)


class StaleField(RefreshMove):
    """Compares every proposal of a sweep with the field at the start of the sweep."""

    def sweep(self, theta, field, proposed, block, scale, key):
        def fields(theta):
            return self.architecture.neurons(theta, jnp.asarray(self.ensemble.lattice.sites.reshape(-1, 1)))

        action, new, old = self.ensemble.action, fields(proposed), fields(theta)

        def log_ratio(change):
            return scale * (action(field) - action(field + change.reshape(field.shape)))

        accept = -jax.random.exponential(key, (len(new),)) < jax.vmap(log_ratio)(new - old)

        def choose(new, old):
            return jnp.where(accept.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        theta, kept = jax.tree.map(choose, proposed, theta), choose(new, old)
        return theta, kept.sum(axis=0).reshape(field.shape), accept.mean(dtype=float), jnp.zeros((), dtype=int)


@dataclass(frozen=True, kw_only=True)
class Mutant(Refresh):
    block_size: int | str = 1
    move_class: type = Right

    def move(self, ensemble):
        return self.move_class(ensemble, ensemble.architecture, fixed_size(self.block_size))


@pytest.mark.parametrize("move_class", [AlwaysAccepts, SignFlipped, StaleField])
def test_wrong_acceptance_rules_are_found_out(move_class):
    """Rejected by the very call that the right kernel passes, at a few percent of its draws."""
    exact = THEORIES["scalar_net_10"].exact(1.0).moments
    settings = {"num_chains": 128, "num_warmup": 50, "num_samples": 400}
    mutant = moments("scalar_net_10", Mutant(move_class=move_class, **settings))
    assert_inconsistent(mutant, exact, scale=SCALES * mutant.value, resolution=0.03, min_ess=100)
    if move_class is AlwaysAccepts:
        right = moments("scalar_net_10", Mutant(**settings))
        assert_consistent(right, exact, scale=SCALES * exact, resolution=0.02)


# The virial identity: sum_i <a_i^2>/Var(a) + <sum_x phi(x) dS/dphi(x)> = N, if the field is linear in normal a_i.

COUPLING = 2.0


def virial_ensemble(width):
    return Ensemble(ScalarNet(1, width, 1.0, np.inf), Lattice((5,), 0.5), PhiPower(4, COUPLING, "trapezoid"))


def virial(ensemble, sampler):
    """Its two terms, (chain, draw, 2)."""

    def terms(position):
        weights, phi = position.theta["amplitudes"], position.field
        kinetic = ensemble.architecture.width * jnp.sum(weights**2)
        return jnp.stack([kinetic, jnp.sum(phi * ensemble.local_action.force(phi))])

    return draws(ensemble, sampler, terms, seed=2)


VIRIAL_CASES = [
    pytest.param(1, Refresh(num_chains=512, num_warmup=50, num_samples=1000), id="refresh-1"),
    pytest.param(10, Refresh(num_chains=512, num_warmup=50, num_samples=1000), id="refresh-10"),
    pytest.param(100, Refresh(num_chains=512, num_warmup=50, num_samples=2500), id="refresh-100", marks=slow),
    pytest.param(10, Composite(num_chains=512, num_warmup=100, num_samples=1000), id="composite-10", marks=slow),
]


@pytest.mark.parametrize(("width", "sampler"), VIRIAL_CASES)
def test_virial_identity(width, sampler):
    """Control: the interaction term with a coupling 5% too large. The power to see that is asserted to be 95%."""
    terms = virial(virial_ensemble(width), sampler)
    shift = 0.05 * terms[..., 1].mean()
    right, wrong = gamma_method(terms.sum(axis=-1)), gamma_method(terms @ np.array([1.0, 1.05]))
    assert width * detectable_deviation(right, width) < shift
    assert_consistent(right, width, resolution=0.01)
    assert_inconsistent(wrong, width, resolution=0.01)


# The state, and the loop.


def small_ensemble():
    return Ensemble(ScalarNet(1, 4, 1.0, 3.0, -1.0), Lattice((3,), 0.5), PhiPower(4, 1.0))


def everything(position):
    return {"kept": {**position.theta, "field": position.field}}


def small_chains(sampler, seed, chunk_length):
    return Chains(small_ensemble(), sampler, jax.random.key(seed), everything, chunk_length)


def concatenated(*chunks):
    return jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *chunks)


LOOP_SAMPLERS = [
    pytest.param(Refresh(num_chains=3, num_warmup=5, thinning=2), id="refresh"),
    pytest.param(Composite(num_chains=3, num_warmup=5, thinning=2), id="composite"),
    pytest.param(HMC(num_chains=3, num_warmup=5, thinning=2), id="hmc", marks=slow),
    pytest.param(NUTS(num_chains=3, num_warmup=5, thinning=2, max_tree_depth=3), id="nuts", marks=slow),
]


@pytest.mark.parametrize("sampler", LOOP_SAMPLERS)
def test_chunks_and_restored_states_continue_bit_for_bit(sampler):
    """The same chain in chunks of 7 and 4, and continued from the leaves of its state in another process's stead."""
    whole = small_chains(sampler, seed=1, chunk_length=7)
    start = whole.leaves()
    whole.warm_up(5)
    first, middle = whole.draw(7), whole.leaves()
    second = concatenated(whole.draw(2), whole.draw(4))

    other = small_chains(sampler, seed=99, chunk_length=4)
    other.warm_up(3)
    other.restore(middle)
    jax.tree.map(np.testing.assert_array_equal, concatenated(other.draw(4), other.draw(2)), second)
    other.restore(start)
    other.warm_up(4)
    other.warm_up(1)
    jax.tree.map(np.testing.assert_array_equal, concatenated(other.draw(4), other.draw(3)), first)

    field = jax.vmap(jax.vmap(small_ensemble().field))(
        {name: jnp.asarray(value) for name, value in second["kept"].items() if name != "field"}
    )
    np.testing.assert_allclose(second["kept"]["field"], field, rtol=1e-12, atol=1e-12)
    assert not np.array_equal(second["kept"]["field"][0], second["kept"]["field"][1])


def test_restoring_a_foreign_state_is_refused():
    chains = small_chains(PriorDraws(num_chains=3), seed=1, chunk_length=4)
    with pytest.raises(ValueError, match="does not fit"):
        chains.restore(small_chains(PriorDraws(num_chains=2), seed=1, chunk_length=4).leaves())


def test_field_carried_by_refresh_is_that_of_its_parameters_after_many_sweeps():
    chains = small_chains(Refresh(num_chains=8), seed=3, chunk_length=1)
    chains.warm_up(20_000)
    z = chains.state.z
    theta = {name: value for name, value in z.items() if name != "field"}
    np.testing.assert_allclose(z["field"], jax.vmap(small_ensemble().field)(theta), rtol=0, atol=1e-12)


def test_numpyros_own_loop_runs_the_kernel_to_the_same_chain():
    """Both split one key into the keys of the chains, so that the chains are the same."""
    num_warmup, num_samples = 6, 9
    mcmc = MCMC(
        Refresh().kernel(small_ensemble()),
        num_warmup=num_warmup,
        num_samples=num_samples,
        num_chains=3,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key_data(jax.random.key(4)))
    samples = mcmc.get_samples(group_by_chain=True)
    chains = small_chains(Refresh(num_chains=3, num_warmup=num_warmup), seed=4, chunk_length=num_samples)
    chains.warm_up(num_warmup)
    kept = chains.draw(num_samples)["kept"]
    assert samples.keys() == kept.keys()
    for name, value in kept.items():
        np.testing.assert_allclose(samples[name], value, rtol=1e-12, atol=1e-12)


# Draws from the prior.


@pytest.mark.parametrize(
    "net",
    [CosNet(2, 3, 1.2, 0.8), GaussNet(1, 3, 0.5, 0.3, 1.2), ScalarNet(3, 3, 1.0, 5.0), ScalarNet(2, 3, 1.0, 4.0, -1.0)],
)
def test_draws_have_the_exact_correlators(net):
    """Two- and four-point functions of three sites; control: the four-point functions of the Gaussian theory."""
    lattice = Lattice((3,) + (1,) * (net.dim - 1), 0.6)
    points = lattice.sites.reshape(-1, net.dim)

    def correlators(position):
        phi = position.field.reshape(-1)
        return jnp.stack(
            [phi[1] * phi[1], phi[0] * phi[1], phi[0] * phi[2], phi[0] * phi[1] * phi[1] * phi[2], phi[1] ** 4]
        )

    sampler = PriorDraws(num_chains=256, num_warmup=1, num_samples=2000)
    estimate = gamma_method(draws(Ensemble(net, lattice), sampler, correlators, seed=5))
    g = net.two_point(points[:, None], points[None])
    gaussian = np.array([g[0, 1] * g[1, 2] * 2 + g[1, 1] * g[0, 2], 3 * g[1, 1] ** 2])
    x0, x1, x2 = points
    connected = [net.four_point_connected(x0, x1, x1, x2), net.four_point_connected(x1, x1, x1, x1)]
    two_point = np.array([g[1, 1], g[0, 1], g[0, 2]])
    scale = np.array([g[1, 1]] * 3 + [g[1, 1] ** 2] * 2)
    assert_consistent(estimate, np.append(two_point, gaussian + connected), scale=scale, resolution=0.06)
    assert_inconsistent(estimate, np.append(two_point, gaussian), scale=scale, resolution=0.06)
