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
# # When is an ensemble of networks a quantum field theory?
#
# The axioms of Osterwalder and Schrader: Euclidean invariance, permutation symmetry, reflection positivity, cluster
# decomposition. `nnft axioms CONFIG` tests all of them; this notebook looks at the two that networks can violate,
# with ensembles whose answers are known exactly.

# %%
import math

import jax
import matplotlib.pyplot as plt
import numpy as np

from nnft_mcmc import CosNet, Lattice, ScalarNet, williams
from nnft_mcmc.estimators.clustering import clustering_test
from nnft_mcmc.estimators.clusters import in_space, label
from nnft_mcmc.estimators.field_observables import Correlators
from nnft_mcmc.estimators.positivity import Family, GramMatrices, positivity_test
from nnft_mcmc.exact.positivity import product_gram_matrix

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## Reflection positivity
#
# For operators $O_A$ at positive time, $M_{AB} = \langle \Theta[O_A]\, O_B\rangle$ has no negative eigenvalue. For the
# fields at times $t_i$ it is $M_{ij} = C(t_i + t_j)$. Exactly:

# %%
times = np.array([0.25, 0.5, 0.75, 1.0, 1.5, 2.0])
fields = [np.array([[t]]) for t in times]
nets = {
    "free scalar": ScalarNet(1, 10, 1.0, math.inf),
    "cos-net": CosNet(1, 10),
    "sharp cut-off 5": ScalarNet(1, 10, 1.0, 5.0),
}
for name, net in nets.items():
    gram = product_gram_matrix(net.n_point_connected, [-x for x in fields], fields)
    print(f"{name:16} smallest eigenvalue {np.linalg.eigvalsh(gram)[0]:+.6f}")

# %% [markdown]
# ### The trap of the estimator
#
# A free theory has one eigenvalue that is not zero. The smallest eigenvalue of an *estimated* matrix is then negative
# in every data set, and says nothing. The test chooses the direction on one half of the draws and tests it on the
# other.

# %%
FAMILY = Family("fields", (Correlators(tuple((i,) for i in range(len(times)))),))


def gaussian_draws(net, num_draws, rng):
    x = np.concatenate([-times, times])[:, None]
    values, vectors = np.linalg.eigh(net.two_point(x[:, None], x[None]))
    phi = rng.standard_normal((num_draws, len(x))) @ (vectors * np.sqrt(np.maximum(values, 0))).T
    return phi[:, None, : len(times)], phi[:, None, len(times) :]


def tested(net, num_draws, rng):
    grams = GramMatrices(FAMILY, num_draws)
    grams.update(*gaussian_draws(net, num_draws, rng))
    return positivity_test(grams, false_alarm=0.05)


rng = np.random.default_rng(0)
for name, net in nets.items():
    tests = [tested(net, 2000, rng) for _ in range(50)]
    negative = np.mean([test.eigenvalues[0] < 0 for test in tests])
    rejected = np.mean([test.is_violated for test in tests])
    print(
        f"{name:16} smallest eigenvalue negative in {negative:4.0%}, rejected at 5% in {rejected:4.0%} of 50 data sets"
    )

# %% [markdown]
# ### Finite width, beyond the two-point function
#
# The Cauchy-cos-net has the two-point function $e^{-m|t|}/2m$ of a free particle at every width, which is reflection
# positive. Its six-point functions are not: take $\phi(\frac12)^2\phi(2)$ and $\phi(1)^3$.

# %%
odd = [np.array([[0.5], [0.5], [2.0]]), np.array([[1.0], [1.0], [1.0]])]
widths = [1, 2, 5, 10, 20, 50, 100, 200]
smallest = []
for width in widths:
    net = ScalarNet(1, width, 1.0, math.inf)
    gram = product_gram_matrix(net.n_point_connected, [-x for x in odd], odd)
    smallest.append(np.linalg.eigvalsh(gram)[0])
    print(f"width {width:4}  eigenvalues {np.linalg.eigvalsh(gram)[0]:+.5f} {np.linalg.eigvalsh(gram)[1]:+.5f}")

# %% [markdown]
# The violation falls with the width, and these two operators no longer see it beyond a width of about 25.
#
# ## Cluster decomposition
#
# At width $N$ a cos-net remembers which momenta it has drawn: $\mathrm{cov}(\phi^2(0), \phi^2(R)) \to \sigma^4/2N$. The
# connected functions are taken from single neurons, exact in the width, and fitted by $A e^{-mR} + c$.

# %%
places = in_space(Lattice((9,), 0.5))
figure, axes = plt.subplots(figsize=(6.4, 4.2))
for net, colour in ((ScalarNet(1, 10, 1.0, math.inf), "C0"), (CosNet(1, 10), "C1")):
    for parts, marker in (((1, 1), "o"), ((2, 2), "s")):
        drawn = williams(net, jax.random.key(0), 50_000, places.tuples(parts), places.points).cumulants
        found = clustering_test(label(parts), places.distances, drawn, 0.5 ** (sum(parts) / 2))
        print(f"{type(net).__name__:10} {found.label:14} {found.verdict}")
        axes.errorbar(places.distances, found.value, found.error, fmt=marker, ms=4, color=colour)
        axes.plot(places.distances, found.curve(places.distances), "-", lw=0.8, color=colour)
axes.set_yscale("log")
axes.set_ylim(1e-4, 1)
axes.set_xlabel("distance of the clusters")
axes.set_ylabel("connected function")
axes.set_title("ScalarNet blue, CosNet orange; circles two fields, squares two pairs", fontsize=9)
plt.show()

# %% [markdown]
# The two-point functions decay, that of the free scalar with its mass; the pairs do not decouple. The floor falls with
# the width as $1/N$: at infinite width both ensembles cluster, and only the free scalar is also reflection positive.
