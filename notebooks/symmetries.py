# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Symmetries of ensembles
#
# A group element $g$ turns a field into $\phi_g(x) = \rho(g)\, \phi(g x)$, and is a symmetry of the *ensemble* if
# $\phi_g$ has the law of $\phi$, $Z_g[J] = Z[J]$, (55)-(57) of J. Halverson, arXiv:2408.00082. No single network need
# be invariant.
#
# The mechanism is (58): $g$ is absorbed into a redefinition of the parameters, $\phi_\theta(g x) = \phi_{\theta_g}(x)$,
# that leaves their density alone, $P(\theta_g)\, |d\theta_g/d\theta| = P(\theta)$. Where such a map is known the
# symmetry is exact at every width. Otherwise it is tested on draws, and a test must say how much it could have seen.

# %%
import math

import jax
import matplotlib.pyplot as plt
import numpy as np

from nnft_mcmc import (
    ConvNet,
    CosNet,
    CubeNet,
    GaussNet,
    Lattice,
    ScalarNet,
    SiteField,
    VectorNet,
    absorbed,
    symmetry_test,
)
from nnft_mcmc.estimators.field_observables import CharacteristicFunction, Correlators
from nnft_mcmc.estimators.group_actions import OutputOrthogonal, SignFlip, Translation, pixel_shift, rotation

jax.config.update("jax_enable_x64", True)

FALSE_ALARM = 1e-4  # of every test: where a symmetry holds, it is rejected this often
KEY = jax.random.key(6)

# %% [markdown]
# ## Absorbed into the parameters
#
# Cos-net (68): a translation $x \to x + t$ shifts the phases by $w \cdot t$, and their density is uniform on the
# circle; a rotation turns the momenta, whose density is isotropic. So the whole Euclidean group is a symmetry at every
# $N$. The same for $\phi \to -\phi$, (59), and $O(D)$ on the outputs. A convolutional network averaged over its pixels
# is invariant network by network. A lattice field is moved by whole sites.

# %%
EXACT = [
    (CosNet(2, 5), Translation((0.7, -1.3))),
    (CosNet(2, 5), rotation(2, 0.8)),
    (ScalarNet(2, 5, mass=1.0, cutoff=4.0, alpha=-1.0), rotation(2, 0.8)),
    (GaussNet(2, 5), rotation(2, 0.8)),
    (GaussNet(2, 5), SignFlip()),
    (CubeNet(2, 5, cutoff=2.0), rotation(2, math.pi / 2)),
    (VectorNet(CosNet(2, 5), 2), OutputOrthogonal(rotation(2, 0.4).matrix)),
    (ConvNet(6, 5, image=(3, 2), filter_size=2), pixel_shift((3, 2), (1, 1))),
    (SiteField(Lattice([4, 4], 0.5, "torus"), mass=1.0), Translation((0.5, -1.0))),
]
for net, element in EXACT:
    theta = net.sample_parameters(KEY)
    theta_g = absorbed(net, element, theta)
    anywhere = np.random.default_rng(0).normal(size=(6, net.dim))
    x = net.lattice.sites.reshape(-1, 2) if hasattr(net, "lattice") else anywhere
    field = np.abs(element.on_outputs(np.asarray(net(theta, element.on_points(x)))) - net(theta_g, x)).max()
    density = abs(float(net.log_prior(theta_g) - net.log_prior(theta)))
    print(f"{type(net).__name__:10s} {type(element).__name__:17s} fields differ by {field:.0e}, ln P by {density:.0e}")
    if max(field, density) > 1e-9:
        raise RuntimeError(f"{type(net).__name__} does not absorb {type(element).__name__}")

# %% [markdown]
# What is no symmetry is refused, with the reason:

# %%
for net, element in ((GaussNet(1, 5), Translation((0.4,))), (CubeNet(2, 5, cutoff=2.0), rotation(2, math.pi / 4))):
    try:
        absorbed(net, element, net.sample_parameters(KEY))
    except ValueError as refused:
        print(refused)

# %% [markdown]
# ## Tested on draws
#
# Each draw gives both $\phi$ and $\phi_g$. The means of the paired differences $O_k[\phi_g] - O_k[\phi]$ of two- and
# four-point functions vanish if $g$ is a symmetry; Hotelling's $T^2$ with their full covariance gives one p-value.
#
# * **Gauss-net** (60)-(64): $G^{(2)}$ is translation invariant and $G^{(4)}_c$ is not, because the neurons single out
#   the origin. Translation by $c$ multiplies its first term by
#   $\exp[\frac{\sigma_{w_0}^2}{2d}(4 c \cdot \sum x_i + 8 c^2)]$. A test on two-point functions alone cannot see it.
# * **Cube**: momenta uniform in a cube in place of a ball. Rotations by 90 degrees map the cube to itself; by 45 they
#   do not.
#
# `detectable` is the power: the violation, in units of the product of the fields' standard deviations, that the test
# rejects in 95% of runs. The exact violation is put beside it.

# %%
step, eighth, quarter = Translation((0.4,)), rotation(2, math.pi / 4), rotation(2, math.pi / 2)
gauss, cos = GaussNet(1, 2, bias_std=0.2), CosNet(1, 2)
cube, ball = CubeNet(2, 3, cutoff=2.0), CosNet(2, 3, weight_std=2.0)
origin, pair = np.zeros((1, 1)), np.array([[0.0, 0.0], [1.5, 0.0]])
one_point = Correlators(((0, 0), (0, 0, 0, 0)))
two_points = Correlators(((0, 1), (0, 0, 1, 1)))
CASES = [
    ("cos-net, translation", cos, step, origin, one_point, True),
    ("gauss-net, translation", gauss, step, origin, one_point, False),
    ("cos-net, rotation by 45", ball, eighth, pair, two_points, True),
    ("cos-net, rotation by 90", ball, quarter, pair, two_points, True),
    ("cube, rotation by 45", cube, eighth, pair, two_points, False),
    ("cube, rotation by 90", cube, quarter, pair, two_points, True),
]


def moments(net, x, tuples):
    """The correlators themselves, exact at the width of the net."""
    found = []
    for sites in tuples:
        two = [[float(net.two_point(x[i], x[j])) for j in sites] for i in sites]
        if len(sites) == 2:
            found.append(two[0][1])
        else:
            pairings = two[0][1] * two[2][3] + two[0][2] * two[1][3] + two[0][3] * two[1][2]
            found.append(float(net.four_point_connected(*x[list(sites)])) + pairings)
    return np.array(found)


results = {}
for number, (name, net, element, x, observable, holds) in enumerate(CASES):
    key = jax.random.fold_in(KEY, number)
    test = symmetry_test(net, key, element, x, 40_000, observable, FALSE_ALARM)
    exact = moments(net, element.on_points(x), observable.tuples) - moments(net, x, observable.tuples)
    results[name] = (test, exact, holds)
    print(f"{name:26s} p = {test.p_value:8.2g}  {'violated' if test.is_violated else 'not seen to be violated'}")
    for label, d, e, true, power in zip(test.labels, test.difference, test.error, exact, test.detectable, strict=True):
        print(f"    {label:24s} difference {d:+.4f} ± {e:.4f}   exact {true:+.4f}   detectable {power:.3f}")

# %%
figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
for row, (test, exact, holds) in enumerate(results.values()):
    colour = "#1f5fa8" if holds else "#c2571a"
    for k, marker in enumerate(("s", "o")):
        height = row + 0.15 * (2 * k - 1)
        axis.errorbar(test.difference[k], height, xerr=test.error[k], fmt=marker, ms=4, color=colour, capsize=2)
        axis.plot(exact[k], height, "|", ms=12, color="#222222")
axis.axvline(0, color="#999999", lw=0.8)
axis.set_yticks(range(len(results)), [f"{name}  (p = {test.p_value:.1g})" for name, (test, _, _) in results.items()])
axis.invert_yaxis()
_ = axis.set_xlabel("difference: 2-point (squares), 4-point (circles), exact (bars)")

# %% [markdown]
# The notebook stops where a symmetry that holds is rejected (this happens with probability $10^{-4}$ in each test
# although all is right), where a broken one is not, or where the differences miss their exact values.

# %%
for name, (test, exact, holds) in results.items():
    if test.is_violated is holds:
        raise RuntimeError(f"{name}: p = {test.p_value:.2g}, and the symmetry {'holds' if holds else 'is broken'}")
    if (np.abs(test.difference - exact) > 4.5 * test.error + 1e-12).any():
        raise RuntimeError(f"{name}: the differences miss their exact values")

# %% [markdown]
# ## Power, and fields with heavy tails
#
# A p-value without its power says little: with few draws gauss-net passes too. The rate at which 20 tests reject it,
# against the number of draws. The error of a four-point function is an eight-point function, and far from
# the origin or for larger biases gauss-net has no useful one; $\cos(J\phi)$ and $\sin(J\phi)$, that is $Z[iJ]$, are
# bounded and see the violation sooner.

# %%
RUNS, DRAWS = 20, (250, 500, 1000, 2000)
watched = {
    r"$\langle\phi^2\rangle, \langle\phi^4\rangle$": one_point,
    "characteristic function": CharacteristicFunction(((1.0,), (2.0,))),
}
figure, axis = plt.subplots(figsize=(5.4, 3.4), layout="constrained")
caught = {}
for (label, observable), marker in zip(watched.items(), ("o", "s"), strict=True):
    rates = []
    for draws in DRAWS:
        keys = jax.random.split(jax.random.fold_in(KEY, draws), RUNS)
        rejected = [symmetry_test(gauss, k, step, origin, draws, observable, 1e-3).is_violated for k in keys]
        rates.append(np.mean(rejected))
    caught[label] = rates
    print(f"{label:50s} " + "  ".join(f"{n} draws: {rate:.0%}" for n, rate in zip(DRAWS, rates, strict=True)))
    axis.plot(DRAWS, rates, marker, ls="-", ms=4, lw=1, label=label)
axis.set_xscale("log")
axis.set_xticks(DRAWS, [str(n) for n in DRAWS])
axis.minorticks_off()
axis.set_xlabel("draws")
axis.set_title("rate at which gauss-net's broken translation is caught")
_ = axis.legend(frameon=False)
if caught["characteristic function"][-1] < 0.9:
    raise RuntimeError("the test on the characteristic function has lost its power")
