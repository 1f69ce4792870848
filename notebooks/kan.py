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
# # Kolmogorov-Arnold networks
#
# A network with functions on its edges is a field theory as any other, it can be fitted, and the functions that it
# learns can be read. Lectures section 2.2; Liu et al., arXiv:2404.19756.

# %%
import math

import jax
import matplotlib.pyplot as plt
import numpy as np

from nnft_mcmc import KAN, estimate_n_point
from nnft_mcmc.expressivity.formulas import formula
from nnft_mcmc.expressivity.kan_fitting import fit, layer_edges
from nnft_mcmc.expressivity.kolmogorov_arnold import Superposition

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## Draws, and their exact two-point function
#
# With one hidden layer the two-point function is known at every width.

# %%
net = KAN(1, (8,))
x = np.linspace(-1, 1, 101)[:, None]
thetas = jax.vmap(net.sample_parameters)(jax.random.split(jax.random.key(0), 6))
plt.plot(x[:, 0], jax.vmap(lambda theta: net(theta, x))(thetas).T)
plt.xlabel("$x$")
plt.ylabel(r"$\phi$")
plt.show()

# %%
points = [[0.3], [-0.5]]
found = estimate_n_point(net, jax.random.key(1), 20_000, [(0, 0), (0, 1)], points).cumulants
for (i, j), value, error in zip([(0, 0), (0, 1)], found.value, found.error, strict=True):
    exact = float(net.infinite_width_kernel(points[i], points[j]))
    print(f"G({points[i][0]}, {points[j][0]}) = {value:.4f} +- {error:.4f}, exactly {exact:.4f}")

# %% [markdown]
# ## A formula out of data
#
# [2, 1, 1] is fitted to 500 values of exp(sin(pi x) + y^2) on grids that become finer.

# %%
rng = np.random.default_rng(0)
inputs, test = rng.uniform(-1, 1, (500, 2)), rng.uniform(-1, 1, (1000, 2))


def target(x):
    return np.exp(np.sin(math.pi * x[:, 0]) + x[:, 1] ** 2)


fitted = fit(KAN(2, (1,)), inputs, target(inputs), jax.random.key(0), grids=(3, 5, 10, 20), steps=150, starts=2)
print(f"RMSE at new points: {np.sqrt(np.mean((fitted(test) - target(test)) ** 2)):.1e}")

# %%
read_off = formula(fitted)
figure, panels = plt.subplots(1, 3, figsize=(9, 2.6), layout="constrained")
edges = [(layer, number, j) for number, layer in enumerate(layer_edges(fitted)) for j in range(layer.z.shape[1])]
for axes, (layer, number, j) in zip(panels, edges, strict=True):
    axes.plot(layer.z[:, j], layer.values[:, 0, j], ".", ms=3)
    axes.set_title(f"layer {number + 1}: {read_off.forms[number][0][j]}")
plt.show()

# %%
print(read_off.text())
print(f"RMSE at new points: {np.sqrt(np.mean((read_off(test) - target(test)) ** 2)):.1e}")

# %% [markdown]
# ## The theorem, by construction
#
# Five outer functions of one inner function represent x y; each iteration leaves a smaller remainder.

# %%
representation = Superposition(lambda x, y: x * y, terms=5, base=6, levels=(2, 3, 4), rank=6)
where = rng.uniform(0, 1, (100, 2))
for iterations in range(4):
    print(iterations, f"{np.abs(representation.remainder(where, iterations)).max():.3f}")
