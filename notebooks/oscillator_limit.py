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
# # The anharmonic oscillator as a limit of networks
#
# $\phi(x) = \sum_i a_i \cos(w_i x + b_i)$ with Cauchy momenta is a free field of mass $m$ at every width $N$. With
# $S_\mathrm{int} = \frac12\int\phi^4$ inserted in a box it is an anharmonic oscillator, but only at $N = \infty$. This
# notebook measures $\langle\phi^2\rangle$ and the gap at four widths, takes the limit, and compares it with the
# transfer matrix. `benchmarks/oscillator_limit.py` does the same with twenty times the draws.

# %%
import math

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from nnft_mcmc import Ensemble, Lattice, PhiPower, Refresh, ScalarNet, TransferMatrix, width_shift
from nnft_mcmc.estimators import pair_weights, stein_variates
from nnft_mcmc.sampling import Chains
from nnft_mcmc.statistics import control_coefficients, derived
from nnft_mcmc.statistics.extrapolation import extrapolate

jax.config.update("jax_enable_x64", True)

FALSE_ALARM_BOUND = 3.29  # two-sided, 1e-3: of each comparison that stops the notebook
WIDTHS = (40, 80, 160, 320)
lattice = Lattice(shape=[25], spacing=0.25, geometry="box")  # -3.0 .. 3.0
insertion = PhiPower(degree=4, coupling=0.5, quadrature="trapezoid")


def ensemble_at(width):
    return Ensemble(ScalarNet(dim=1, width=width, mass=1.0, cutoff=math.inf), lattice, insertion)


# %% [markdown]
# ## What is known
#
# In this box $E = \ln[G(\tfrac12)/G(1)]/\tfrac12$, $G(t) = \langle\phi(0)\phi(t)\rangle$, is the gap of the oscillator
# on these sites to $10^{-4}$: shorter distances would bring in higher levels, longer ones the ends of the box. The
# leading bias $B/N$ is exact in the coupling.

# %%
(centre,) = lattice.centre
pairs = pair_weights(lattice)[[0, 2, 4]]  # G(0), G(1/2), G(1)


def numbers(g):
    """<phi^2> and E, and their derivatives."""
    values = np.array([g[0], 2 * math.log(g[1] / g[2])])
    return values, np.array([[1.0, 0.0, 0.0], [0.0, 2 / g[1], -2 / g[2]]])


theory = TransferMatrix(1.0, lattice.axis(0), ensemble_at(1).local_action.coefficients)
exact, gradient = numbers(pairs @ theory.two_point()[centre])
leading = gradient @ (pairs @ width_shift(theory, centre).two_point)
for name, value, b in zip(("<phi^2>", "E"), exact, leading, strict=True):
    print(f"{name:8} N = infinity {value:.6f}, B = {b:.4f}")

# %% [markdown]
# ## Control variates
#
# $\phi$ is linear in the output weights, and they are normal: Stein's identity gives numbers whose mean is zero at
# every $N$, whatever the momenta and phases, one for each pair of sites. `stein_variates` makes them, a pilot of a few
# thousand draws says how much of each to subtract, and what is left of the noise is a tenth.

# %%
CHAINS, CHUNK = 64, 50


def measured(width, draws):
    """<phi^2> and E with errors, with and without control variates."""
    ensemble = ensemble_at(width)
    variates, rows = stein_variates(ensemble), jnp.asarray(pairs)

    def collect(position):
        g = rows @ (position.field[centre] * position.field)
        return {"observables": {"g": g, "z": variates(position.theta, position.field)}}

    chains = Chains(ensemble, Refresh(num_chains=CHAINS, num_warmup=100), jax.random.key(width), collect, CHUNK)
    chains.warm_up(100)
    pilot = [chains.draw(CHUNK)["observables"] for _ in range(2)]
    z, g = (np.concatenate([part[name].reshape(-1, part[name].shape[-1]) for part in pilot]) for name in ("z", "g"))
    beta = control_coefficients(z, g)
    parts = [chains.draw(CHUNK)["observables"] for _ in range(math.ceil(draws / (CHAINS * CHUNK)))]
    plain = np.concatenate([part["g"] for part in parts], axis=1)
    improved = np.concatenate([part["g"] - part["z"] @ beta for part in parts], axis=1)
    return [derived(series, *numbers(series.mean(axis=(0, 1)))) for series in (improved, plain)]


results = {width: measured(width, 20_000 * math.sqrt(WIDTHS[0] / width)) for width in WIDTHS}
for width, (improved, plain) in results.items():
    bias = (improved.value - exact) / (leading / width)
    text = [f"{bias[k]:.3f} ± {improved.error[k] * width / abs(leading[k]):.3f}" for k in (0, 1)]
    saved = " and ".join(f"{ratio:.0f}" for ratio in (plain.error / improved.error) ** 2)
    print(f"N = {width:3d}: bias/(B/N) of <phi^2> {text[0]}, of E {text[1]}; draws saved {saved} times")

# %% [markdown]
# At every width the bias has the sign of $B$ and nearly its size; what is missing is of the next order in $1/N$.
#
# ## The limit

# %%
x = 1 / np.array(WIDTHS)
figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
limits = []
for k, (axes, label) in enumerate(zip(panels, (r"$\langle\phi^2\rangle$", "$E$"), strict=True)):
    value, error = (np.array([getattr(results[w][0], name)[k] for w in WIDTHS]) for name in ("value", "error"))
    limit, fine = extrapolate(x, value, error), np.linspace(0, 1.05 * x.max(), 100)
    limits.append(limit)
    axes.plot(fine, limit.value + limit.bias(fine)[0], lw=1, label="average of fits")
    axes.plot(fine, exact[k] + leading[k] * fine, "k--", lw=1, label="transfer matrix + $B/N$")
    axes.errorbar(x, value, error, fmt="o", ms=4, capsize=2, label="networks")
    axes.errorbar(0, limit.value, limit.error, fmt="s", ms=5, capsize=3, label="limit")
    axes.set_xlabel("$1/N$")
    axes.set_ylabel(label)
_ = panels[0].legend(frameon=False, fontsize=8)

# %% [markdown]
# The notebook stops if a limit misses the transfer matrix by more than its error allows, if its error is above 0.3%
# and 1%, or if the narrowest network could not be told from the limit without it: then nothing would have been shown.

# %%
for k, (name, required) in enumerate((("<phi^2>", 0.003), ("E", 0.01))):
    limit = limits[k]
    z, relative = (limit.value - exact[k]) / limit.error, limit.error / exact[k]
    seen = (results[WIDTHS[0]][0].value[k] - exact[k]) / results[WIDTHS[0]][0].error[k]
    print(
        f"{name}: limit {limit.value:.5f} ± {limit.error:.5f}, transfer matrix {exact[k]:.5f}, z = {z:+.2f},"
        f" p of the fit {limit.best.p_value:.2f}; at N = {WIDTHS[0]} z = {seen:+.1f}"
    )
    if abs(z) > FALSE_ALARM_BOUND or relative > required:
        raise RuntimeError(f"{name}: z = {z:+.2f}, error {relative:.2%}")
    if abs(seen) < FALSE_ALARM_BOUND:
        raise RuntimeError(f"{name}: the comparison cannot tell N = {WIDTHS[0]} from the limit")
