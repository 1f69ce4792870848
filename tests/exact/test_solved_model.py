"""The solved model against matrix exponentials, an integrated equation, single steps, and what it must refuse."""

import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import solve_ivp

from nnft_mcmc import InputError
from nnft_mcmc.dynamics.optimizers import Adam, GradientDescent, GradientFlow
from nnft_mcmc.dynamics.response import response, solvable, stability_bound
from nnft_mcmc.dynamics.solved_model import KernelsAt, SolvedModel

ETA, NUM_DATA, NUM_TEST = 0.7, 6, 3
RNG = np.random.default_rng(3)
X = RNG.normal(size=(NUM_DATA + NUM_TEST, 4))
Y = RNG.normal(size=NUM_DATA)
# Two different kernels on all points; the first points are those of the data.
NTK = (1 + X @ X.T) ** 2 + np.exp(-((X[:, None] - X[None]) ** 2).sum(-1))
NNGP = np.exp(-0.3 * ((X[:, None] - X[None]) ** 2).sum(-1))
DATA, TEST = slice(0, NUM_DATA), slice(NUM_DATA, None)
AT = KernelsAt(NTK[TEST, DATA], NNGP[TEST, DATA], NNGP[TEST, TEST])


def model(optimizer=None, **changes):
    settings = {"targets": Y, "ntk": NTK[DATA, DATA], "learning_rate": ETA, "nngp": NNGP[DATA, DATA]}
    return SolvedModel(**{**settings, "optimizer": optimizer or GradientFlow(1.0), **changes})


def propagator(time, ntk=NTK, eta=ETA):
    """A_t from a matrix exponential and an inverse."""
    theta = ntk[DATA, DATA]
    return ntk[TEST, DATA] @ np.linalg.solve(
        theta, np.eye(NUM_DATA) - scipy.linalg.expm(-eta * theta * time / NUM_DATA)
    )


def moments(a):
    """Mean and covariance of phi_0(x) + A (y - phi_0(X)) as a linear map of the Gaussian phi_0."""
    linear = np.hstack([-a, np.eye(NUM_TEST)])
    return a @ Y, linear @ NNGP @ linear.T


def test_flow_equals_the_matrix_exponential():
    found = model().predict(AT, [0.0, 0.01, 1.0, 50.0])
    for time, mean, covariance in zip(found.times, found.mean, found.covariance, strict=True):
        for value, expected in zip((mean, covariance), moments(propagator(time)), strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-11)


def test_flow_solves_its_equation():
    """d phi/dt = -(eta/|D|) Theta(x, X) (phi(X) - y) for given phi_0, eq. (95), integrated."""
    start = RNG.normal(size=len(X))

    def velocity(_, phi):
        return ETA / NUM_DATA * NTK[:, DATA] @ (Y - phi[DATA])

    solution = solve_ivp(velocity, (0, 2.0), start, rtol=1e-12, atol=1e-13, method="DOP853", t_eval=[0.3, 2.0])
    found = model().trajectories(NTK[TEST, DATA], start[DATA], start[TEST], [0.3, 2.0])
    np.testing.assert_allclose(found, solution.y[TEST].T, atol=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("fraction", [0.1, 0.6, 0.99])
def test_descent_equals_its_steps(momentum, fraction):
    eta = fraction * 2 * (1 + momentum) * NUM_DATA / np.linalg.eigvalsh(NTK[DATA, DATA])[-1]
    solved = model(GradientDescent(1.0, momentum), learning_rate=eta)
    phi, velocity, start = RNG.normal(size=len(X)), np.zeros(NUM_DATA), None
    start = phi.copy()
    for step in range(1, 41):
        velocity = momentum * velocity + (phi[DATA] - Y) / NUM_DATA  # sum of past gradients, in function space
        phi = phi - eta * NTK[:, DATA] @ velocity
        if step in {1, 7, 40}:
            found = solved.trajectories(NTK[TEST, DATA], start[DATA], start[TEST], [step])[0]
            np.testing.assert_allclose(found, phi[TEST], atol=1e-10)


def test_descent_is_the_power_of_the_lectures_and_tends_to_the_flow():
    eigenvalues, eta = np.array([0.0, 1e-9, 0.3, 1.0, 1.7]), 1.1
    with np.errstate(invalid="ignore"):
        expected = (1 - (1 - eta * eigenvalues) ** 57) / eigenvalues
    found = response(GradientDescent(1.0), eigenvalues, eta, 57)
    np.testing.assert_allclose(found[2:], expected[2:], rtol=1e-12)
    np.testing.assert_allclose(found[:2], 57 * eta, rtol=1e-6)
    flow = response(GradientFlow(1.0), eigenvalues, 1e-5, 2e5)
    np.testing.assert_allclose(response(GradientDescent(1.0), eigenvalues, 1e-5, 200_000), flow, rtol=2e-5)


def test_the_ends():
    start = model().predict(AT, 0.0)
    np.testing.assert_array_equal(start.mean, 0.0)
    np.testing.assert_allclose(start.covariance[0], AT.nngp_test, rtol=1e-14)
    regression, late = model().predict(AT, np.inf), model().predict(AT, [1e9, np.inf])
    np.testing.assert_allclose(regression.mean[0], NTK[TEST, DATA] @ np.linalg.solve(NTK[DATA, DATA], Y), rtol=1e-9)
    np.testing.assert_allclose(late.mean, [regression.mean[0]] * 2, rtol=1e-9)
    np.testing.assert_allclose(late.covariance, [regression.covariance[0]] * 2, rtol=1e-8, atol=1e-10)
    assert (regression.factorisation, late.factorisation) == ("cholesky", "eigenvectors")


def test_training_points_are_memorised():
    """Eq. (98), with no spread left."""
    on_data = KernelsAt(NTK[DATA, DATA], NNGP[DATA, DATA], NNGP[DATA, DATA])
    found = model().predict(on_data, np.inf)
    np.testing.assert_allclose(found.mean[0], Y, atol=1e-10)
    np.testing.assert_allclose(found.std[0], 0.0, atol=1e-5)


def test_the_printed_equation_96_is_another():
    """Control: prefactor 1/|D| and exponent -eta Theta t, as in the lectures, at no time give the solution."""
    printed = propagator(1.0, eta=ETA * NUM_DATA) / NUM_DATA
    assert np.abs(printed @ Y - model().predict(AT, 1.0).mean[0]).max() > 0.1
    assert np.abs(printed @ Y - model().predict(AT, NUM_DATA).mean[0]).max() > 0.1


def test_the_stability_bound_is_where_descent_begins_to_grow():
    largest = np.linalg.eigvalsh(NTK[DATA, DATA])[-1]
    for momentum in (0.0, 0.5, 0.9):
        optimizer = GradientDescent(1.0, momentum)
        bound = stability_bound(optimizer, largest, NUM_DATA)
        residuals = []
        for eta in (0.999 * bound, 1.001 * bound):
            p, before = 1.0, 1.0
            for _ in range(20_000):
                p, before = p + momentum * (p - before) - eta * largest / NUM_DATA * p, p
            residuals.append(abs(p))
        assert residuals[0] < 1e-3
        assert residuals[1] > 1e3
        model(optimizer, learning_rate=0.999 * bound).predict(AT, [10.0])
        with pytest.raises(InputError, match=rf"learning rate is .* diverges from .* = {bound:.6g} on"):
            model(optimizer, learning_rate=1.001 * bound).predict(AT, [10.0])


def test_coinciding_inputs_are_named_and_allowed_at_finite_times():
    twice = [*range(NUM_DATA), 2]
    ntk, nngp = NTK[np.ix_(twice, twice)], NNGP[np.ix_(twice, twice)]
    at = KernelsAt(NTK[TEST][:, twice], NNGP[TEST][:, twice], NNGP[TEST, TEST])
    doubled = model(targets=np.append(Y, Y[2]), ntk=ntk, nngp=nngp)
    finite = doubled.predict(at, [1.0])
    exponential = scipy.linalg.expm(-ETA / 7 * ntk)
    np.testing.assert_allclose(
        finite.mean[0],
        at.ntk @ np.linalg.pinv(ntk, rcond=1e-12) @ (np.eye(7) - exponential) @ doubled.targets,
        atol=1e-8,
    )
    for times in (np.inf, [1.0, np.inf]):
        with pytest.raises(InputError, match=r"condition number .* inputs number 2 and 6 \(from 0\) coincide.*jitter"):
            doubled.predict(at, times)
    helped = model(targets=np.append(Y, Y[2]), ntk=ntk, nngp=nngp, jitter=1e-6).predict(at, np.inf)
    assert helped.jitter == pytest.approx(1e-6 * np.diag(ntk).mean())
    np.testing.assert_allclose(helped.mean, model().predict(AT, np.inf).mean, rtol=1e-3)


def test_both_factorisations_know_the_condition_number():
    true = np.linalg.cond(NTK[DATA, DATA])
    assert model().predict(AT, [1.0, np.inf]).condition[1] == pytest.approx(true, rel=1e-6)
    assert true / 10 < model().predict(AT, np.inf).condition[0] < 10 * true


def test_what_is_no_kernel_is_refused():
    wrong = NTK[DATA, DATA].copy()
    wrong[0, 0] = -5.0
    with pytest.raises(InputError, match="none below zero"):
        model(ntk=wrong).predict(AT, [1.0])
    with pytest.raises(InputError, match="ntk has shape"):
        model(ntk=NTK)
    with pytest.raises(InputError, match="no exact solution"):
        solvable(Adam(1e-3))
