"""Training of networks against solved models, updates written out, and other ways of cutting the same ensemble."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from nnft_mcmc import MLP, InputError, Lattice, LatticeModes
from nnft_mcmc.dynamics import energy_conserving
from nnft_mcmc.dynamics.data import Data
from nnft_mcmc.dynamics.empirical_kernel import tangent_kernel
from nnft_mcmc.dynamics.optimizers import (
    Adam,
    EnergyConservingDescent,
    GradientDescent,
    GradientFlow,
    StochasticGradientDescent,
)
from nnft_mcmc.dynamics.solved_model import SolvedModel
from nnft_mcmc.dynamics.task import Linearised, Nonlinear
from nnft_mcmc.dynamics.training import Diverged, Training, train

X = np.linspace(-1.0, 1.0, 5)[:, None]
DATA = Data(X, np.sin(2 * X[:, 0]))
POINTS = np.array([[-0.7], [0.1], [1.3]])
KEY = jax.random.key(11)
NET = MLP(dim=1, width=8, weight_std=1.4, bias_std=0.3)


def trained(optimizer, times, num_networks=2, model=None, **settings):
    training = Training(model or Nonlinear(NET), DATA, optimizer, times, POINTS, num_networks, **settings)
    return train(training, KEY)


def of_network(model, number, optimizer, times):
    """The exact trajectory of the linearised network of that number."""
    start = NET.sample_parameters(jax.random.split(jax.random.fold_in(KEY, number))[0])
    both = np.concatenate([X, POINTS])
    kernel = np.asarray(tangent_kernel(NET, start, both, both))
    phi = np.asarray(NET(start, both))
    solved = SolvedModel(DATA.targets, kernel[:5, :5], optimizer, optimizer.learning_rate)
    return solved.trajectories(kernel[5:, :5], phi[:5], phi[5:], times)


@pytest.mark.parametrize(
    ("optimizer", "times", "accuracy"),
    [
        (GradientFlow(0.7, rtol=1e-11, atol=1e-12), [0.0, 0.4, 12.0], 1e-8),
        (GradientDescent(0.5), [0, 1, 30], 1e-11),
        (GradientDescent(0.2, momentum=0.8), [0, 1, 30], 1e-11),
    ],
    ids=["flow", "descent", "momentum"],
)
def test_linearised_networks_are_trained_as_solved(optimizer, times, accuracy):
    found = trained(optimizer, times, model=Linearised(NET))
    for number in range(2):
        expected = of_network(NET, number, optimizer, times)
        np.testing.assert_allclose(found.fields[number], expected, atol=accuracy)
    assert np.abs(expected[-1] - expected[0]).max() > 0.1


def test_a_network_goes_another_way_than_its_linearisation():
    """Control of the above."""
    found = trained(GradientDescent(0.5), [0, 30])
    assert np.abs(found.fields[0] - of_network(NET, 0, GradientDescent(0.5), [0, 30])).max() > 1e-3


def by_hand(update, steps, batch=None):
    """Network number 0 after `steps` updates (theta, gradient, memory) -> theta, memory."""
    start_key, key = jax.random.split(jax.random.fold_in(KEY, 0))
    theta, memory = jax.tree.map(np.asarray, NET.sample_parameters(start_key)), None
    gradient = jax.jit(jax.grad(lambda t, x, y: 0.5 * jnp.mean((NET(t, x) - y) ** 2)))
    for n in range(steps):
        chosen = slice(None) if batch is None else batch(key, n)
        slope = jax.tree.map(np.asarray, gradient(theta, X[chosen], DATA.targets[chosen]))
        theta, memory = update(theta, slope, memory)
    return np.asarray(NET(theta, POINTS))


@pytest.mark.slow
def test_batches_pass_through_the_data():
    def batch(key, n):
        order = np.asarray(jax.random.permutation(jax.random.fold_in(key, n // 2), 5))
        return order[(n % 2) * 2 : (n % 2) * 2 + 2]

    def update(theta, gradient, memory):
        return jax.tree.map(lambda t, g: t - 0.3 * g, theta, gradient), None

    found = trained(StochasticGradientDescent(0.3, batch_size=2), [5], num_networks=1)
    np.testing.assert_allclose(found.fields[0, 0], by_hand(update, 5, batch), atol=1e-12)


@pytest.mark.slow
def test_adam_is_that_of_the_paper():
    def update(theta, gradient, memory):
        m, v, n = memory or (jax.tree.map(np.zeros_like, theta), jax.tree.map(np.zeros_like, theta), 0)
        n += 1
        m = jax.tree.map(lambda m, g: 0.8 * m + 0.2 * g, m, gradient)
        v = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g**2, v, gradient)
        move = jax.tree.map(lambda m, v: 0.01 * (m / (1 - 0.8**n)) / (np.sqrt(v / (1 - 0.99**n)) + 1e-6), m, v)
        return jax.tree.map(np.subtract, theta, move), (m, v, n)

    found = trained(Adam(0.01, beta1=0.8, beta2=0.99, epsilon=1e-6), [4], num_networks=1)
    np.testing.assert_allclose(found.fields[0, 0], by_hand(update, 4), atol=1e-12)


def test_the_ensemble_does_not_depend_on_its_chunks():
    settings = {"optimizer": GradientDescent(0.5), "times": [0, 3], "num_networks": 5, "keep_parameters": True}
    whole, cut = trained(**settings), trained(**settings, chunk=2)
    assert (len(whole), len(cut)) == (5, 5)
    np.testing.assert_allclose(whole.fields, cut.fields, atol=1e-13)
    np.testing.assert_allclose(whole.losses, cut.losses, atol=1e-13)
    for name, values in whole.parameters.items():
        np.testing.assert_allclose(values, cut.parameters[name], atol=1e-13)
    assert np.ptp(whole.fields[:, 0, 0]) > 0.1
    last = {name: values[4, 1] for name, values in whole.parameters.items()}
    np.testing.assert_allclose(NET(last, POINTS), whole.fields[4, 1], atol=1e-13)


def test_changing_a_at_fixed_d_leaves_the_trained_functions():
    """a_l -> a_l + s, b_l -> b_l - 2 s, c -> c - 2 s for every layer: theta scales by N^s and so does its step."""
    fields = []
    for shift in (0.0, 0.3):
        net = MLP(
            dim=1,
            width=16,
            depth=3,
            a=(shift, 0.5 + shift, 0.5 + shift),
            b=(-2 * shift, -2 * shift, -2 * shift),
            c=-2 * shift,
            d=0.25,
            gamma0=0.8,
        )
        fields.append(trained(GradientDescent(0.6), [0, 20], model=Nonlinear(net)).fields)
    np.testing.assert_allclose(fields[1], fields[0], atol=1e-9)
    assert np.abs(fields[0][:, 1] - fields[0][:, 0]).max() > 1e-2


def test_the_readout_alone_is_a_linear_model():
    found = trained(GradientDescent(0.5), [0, 40], trained="readout", keep_parameters=True)
    start, end = ({name: values[0, k] for name, values in found.parameters.items()} for k in (0, 1))
    moved = {name for name in start if np.abs(start[name] - end[name]).max() > 0}
    assert moved == {"amplitudes", "biases_2"}
    both = np.concatenate([X, POINTS])
    kernel = np.asarray(tangent_kernel(NET, start, both, both, trained="readout"))
    phi = np.asarray(NET(start, both))
    expected = SolvedModel(DATA.targets, kernel[:5, :5], GradientDescent(0.5), 0.5).trajectories(
        kernel[5:, :5], phi[:5], phi[5:], [40]
    )
    np.testing.assert_allclose(found.fields[0, 1], expected[0], atol=1e-11)


@pytest.mark.slow
def test_standardised_coordinates_weigh_gradients_by_variances():
    found = trained(GradientDescent(0.1), [1], num_networks=1, coordinates="standardised")

    def update(theta, gradient, memory):
        prior = NET.prior()
        moved = {name: theta[name] - 0.1 * np.unique(prior[name].variance)[0] * gradient[name] for name in theta}
        return moved, None

    np.testing.assert_allclose(found.fields[0, 0], by_hand(update, 1), atol=1e-13)


def test_divergence_says_where_and_at_what_rate():
    with pytest.raises(Diverged, match=r"training diverged: 2 of 2 networks .* number 0 .* learning rate was 1e\+04"):
        trained(GradientDescent(1e4), [0, 1, 300])


def test_what_cannot_be_trained_is_refused():
    modes = Nonlinear(LatticeModes(lattice=Lattice((4,), 1.0, geometry="torus"), mass=1.0))
    with pytest.raises(InputError, match="sites of its lattice"):
        train(Training(modes, Data([0.0, 1.0], [1.0, -1.0]), GradientDescent(0.1), [0, 1], [[0.5]], 1), KEY)
    with pytest.raises(InputError, match="whole numbers"):
        trained(GradientDescent(0.1), [0.5])
    with pytest.raises(InputError, match="must increase"):
        trained(GradientFlow(0.1), [1.0, 1.0])
    with pytest.raises(InputError, match="batch_size is 6 and there are 5"):
        trained(StochasticGradientDescent(0.1, batch_size=6), [1])
    with pytest.raises(InputError, match="momentum is 1"):
        GradientDescent(0.1, momentum=1.0)
    with pytest.raises(InputError, match=r"concentration is 0\.5"):
        EnergyConservingDescent(0.1, concentration=0.5)


# Energy-conserving descent in a landscape with three coordinates.
STIFF = jnp.array([1.0, 2.5, 0.3])


def landscape(q):
    return 0.5 * jnp.sum(STIFF * q**2) + 0.1 * jnp.sum(q) ** 4


def motion(settings, steps, conserve):
    """Energies after each step of the motion without bounces, with or without the published correction of |p|."""
    of = jax.value_and_grad(landscape)

    def step(state, _):
        loss, gradient = of(state.position)
        momentum = energy_conserving.rescaled(settings, state, loss) if conserve else state.momentum
        q, p = energy_conserving.leap(settings, state.position, momentum, loss, gradient)
        state = energy_conserving.State(q, p, state.energy)
        corrected = energy_conserving.rescaled(settings, state, landscape(q)) if conserve else p
        return state, (energy_conserving.energy(settings, landscape(q), corrected), q)

    state = energy_conserving.begin(settings, of, jnp.array([1.0, -0.7, 2.0]))
    _, (energies, path) = jax.jit(lambda s: jax.lax.scan(step, s, length=steps))(state)
    return np.asarray(energies - state.energy), np.asarray(path)


def settings(dt, bounces=0.0):
    return EnergyConservingDescent(dt, concentration=2.0, loss_offset=-0.1, initial_kinetic=0.5, bounces=bounces)


def test_the_energy_is_conserved():
    """Exactly by the correction; without it to first order in the step, as a symplectic Euler step does."""
    assert np.abs(motion(settings(0.01), 2000, conserve=True)[0]).max() < 1e-12
    coarse = np.abs(motion(settings(0.01), 2000, conserve=False)[0]).max()
    fine = np.abs(motion(settings(0.005), 4000, conserve=False)[0]).max()
    assert 1e-3 < coarse < 0.2
    assert fine / coarse == pytest.approx(0.5, abs=0.05)


def test_the_motion_is_hamiltons():
    """q(t) tends to the solution of the equations of motion, in proportion to the step."""
    start, eta = settings(1.0), 2.0
    gradient = jax.jit(jax.value_and_grad(landscape))
    begin = energy_conserving.begin(start, jax.value_and_grad(landscape), jnp.array([1.0, -0.7, 2.0]))

    def velocity(_, z):
        q, p = z[:3], z[3:]
        loss, slope = gradient(jnp.asarray(q))
        return np.concatenate([2 * p / (1 + p @ p), -eta * np.asarray(slope) / (float(loss) + 0.1)])

    z = np.concatenate([begin.position, begin.momentum])
    end = solve_ivp(velocity, (0, 2.0), z, rtol=1e-9, atol=1e-9).y[:3, -1]
    errors = [np.abs(motion(settings(dt), round(2 / dt), conserve=True)[1][-1] - end).max() for dt in (0.01, 0.005)]
    assert errors[0] < 0.1
    assert errors[1] / errors[0] == pytest.approx(0.5, abs=0.1)


def test_networks_keep_their_energy_and_find_low_loss():
    """With bounces; the loss offset is below the least loss, which is zero."""
    optimizer = EnergyConservingDescent(0.02, concentration=2.0, loss_offset=0.0, bounces=1e-3)
    found = trained(optimizer, [0, 100, 2000])
    assert np.abs(found.more["energy"] - found.more["energy"][:, :1]).max() < 1e-9
    assert (found.losses[:, 2] < 0.05 * found.losses[:, 0]).all()
