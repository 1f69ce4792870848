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
# # How wide must a network be?
#
# An interacting theory from networks of width $N$ differs from its limit $N = \infty$ by a bias. This notebook lowers
# it without more neurons: with two quadratures per neuron, and with stratified momenta. What is left is predicted by
# exact calculations, and measured.
#
# Given its momenta, a network with two quadratures is a Gaussian field,
#
# $$\phi(x) = \sum_i F\,[u_i \cos w_i x + v_i \sin w_i x], \qquad
# K(x - y) = \frac1N \sum_i k_{w_i}(x - y),$$
#
# so that all of the bias comes from the fluctuation of the kernel $K$ about $\langle K\rangle = G$, and to leading
# order it is linear in its covariance. With stratified momenta neuron $i$ draws $w_i$ from the $i$-th of $N$ cells of
# equal probability: $\langle K \rangle = G$ still holds at every $N$, and only fluctuations within cells are left.

# %%
import math

import jax
import matplotlib.pyplot as plt
import numpy as np

from nnft_mcmc import (
    Ensemble,
    Lattice,
    PhiPower,
    Refresh,
    ScalarNet,
    StratifiedNet,
    TwoQuadratureNet,
    exact_reference,
    gamma_method,
    sample,
)

jax.config.update("jax_enable_x64", True)

FALSE_ALARM = 1e-3  # of each of the comparisons below that stop the notebook

# %% [markdown]
# ## The variance of the kernel
#
# $\mathrm{Var}\,K(r)$ is half of the exact connected four-point function at $(0, 0, r, r)$. Independent momenta give
# $1/N$. A cell of length $\ell$ contributes $\min(1, (\ell r)^2)$. Below a cut-off all cells shrink, in $d$ dimensions
# $\ell \propto N^{-1/d}$, and the variance falls as $N^{-(1 + 2/d)}$. Where the momenta have a tail
# $\Pr(|w| > k) \propto k^{-a}$ the cells far out stay wider than $1/r$. They are a fraction $N^{-a/(a+d)}$ of all, so
# the variance falls as $N^{-(1 + a/(a+d))}$; $N^{-3/2}$ for Cauchy momenta in $d = 1$.

# %%
R = 1.0
LAWS = {  # base net, expected power
    "d = 1, cut-off": (lambda n: ScalarNet(1, n, mass=1.0, cutoff=5.0), -3.0),
    "d = 1, Cauchy": (lambda n: ScalarNet(1, n, mass=1.0, cutoff=math.inf), -1.5),
    "d = 2, cut-off": (lambda n: ScalarNet(2, n, mass=1.0, cutoff=5.0), -2.0),
    "d = 3, cut-off": (lambda n: ScalarNet(3, n, mass=1.0, cutoff=5.0), -5 / 3),
}


def variance(net):
    """Var K(r)/G(0)^2 of a net of two quadratures."""
    o, x = np.zeros(net.dim), R * np.eye(net.dim)[0]
    return float(net.four_point_connected(o, o, x, x) / net.two_point(o, o) ** 2) / 2


figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
for (law, (base, expected)), colour in zip(LAWS.items(), ("#1f5fa8", "#c2571a", "#3f8f4f", "#7a4fa3"), strict=True):
    widths = 2 ** np.arange(3, 12 - base(1).dim)
    stratified = np.array([variance(StratifiedNet(TwoQuadratureNet(base(int(n))))) for n in widths])
    independent = variance(TwoQuadratureNet(base(1))) / widths
    wide = widths >= 64
    power = np.polyfit(np.log(widths[wide]), np.log(stratified[wide]), 1)[0]
    axis.loglog(widths, independent, "--", lw=0.8, color=colour)
    axis.loglog(
        widths, stratified, "o-", ms=3, lw=1, color=colour, label=f"{law}: {power:.2f}, expected {expected:.2f}"
    )
    print(f"{law:16} fitted power {power:.3f}, expected {expected:.3f}")
    if abs(power - expected) > 0.1:
        raise RuntimeError(f"{law}: the variance falls as N^{power:.2f}, not as N^{expected:.2f}")
axis.set_xlabel("$N$")
axis.set_ylabel(r"$\mathrm{Var}\,K(r)\,/\,G(0)^2$,  $r = 1$")
_ = axis.legend(frameon=False)

# %% [markdown]
# Dashed: independent momenta. The steps of the Cauchy curve come and go as cells pass $1/r$.
#
# ## The bias of an interacting theory
#
# The anharmonic oscillator in a box of length 4, $\lambda = 1/2$, from ten neurons. `exact_reference` knows
# $N = \infty$ exactly (a transfer matrix), and the leading bias of each of the three networks: `shifts`.

# %%
WIDTH = 10
lattice = Lattice(shape=[9], spacing=0.5, geometry="box")  # -2.0 .. 2.0
insertion = PhiPower(degree=4, coupling=0.5, quadrature="trapezoid")
base = ScalarNet(dim=1, width=WIDTH, mass=1.0, cutoff=math.inf)
NETS = {
    "one quadrature": base,
    "two quadratures": TwoQuadratureNet(base),
    "two, stratified": StratifiedNet(TwoQuadratureNet(base)),
}

measured, leading = {}, {}
for number, (name, net) in enumerate(NETS.items()):
    ensemble = Ensemble(net, lattice, insertion)
    settings = Refresh(num_chains=32, num_warmup=100, num_samples=1000)
    draws = sample(ensemble, jax.random.key(number), settings, store=())["observables"]["phi2_mid"].values
    reference = exact_reference(ensemble)
    exact, leading[name] = float(reference.values["phi2_mid"]), float(reference.shifts["phi2_mid"])
    measured[name] = gamma_method(draws)
    bias, error = float(measured[name].value) - exact, float(measured[name].error)
    print(f"{name:16} <phi^2> - {exact:.6f} = {bias:+.4f} ± {error:.4f}    leading term {leading[name]:+.4f}")

# %% [markdown]
# At the same number of neurons the bias falls by a factor of two and by another of two. One quadrature does not profit
# from strata alone: its phase and output weight fluctuate whatever its momentum, and $N\kappa$ stays $3/2$.
#
# ## The comparison that counts
#
# At $N = 80$ the stratified network is held against the exact answer: its bias is below the statistical error.
# The notebook stops if the two disagree at the false-alarm rate above; as a control, the network of one quadrature at
# $N = 10$ must be told apart from the exact answer.

# %%
wide = Ensemble(StratifiedNet(TwoQuadratureNet(ScalarNet(1, 80, mass=1.0, cutoff=math.inf))), lattice, insertion)
settings = Refresh(num_chains=16, num_warmup=100, num_samples=600)
draws = sample(wide, jax.random.key(7), settings, store=())["observables"]["phi2_mid"].values
estimate = gamma_method(draws)
z = (float(estimate.value) - exact) / float(estimate.error)
control = (float(measured["one quadrature"].value) - exact) / float(measured["one quadrature"].error)
bound = 3.29  # two-sided normal bound at FALSE_ALARM
print(
    f"N = 80: <phi^2> mid = {float(estimate.value):.4f} ± {float(estimate.error):.4f}, exact {exact:.4f}, z = {z:+.2f}"
)
print(f"one quadrature, N = 10: z = {control:+.1f}")
if abs(z) > bound:
    raise RuntimeError(f"the stratified network misses the exact answer: z = {z:+.2f}")
if abs(control) < bound:
    raise RuntimeError("the comparison cannot tell finite width from the exact answer")
