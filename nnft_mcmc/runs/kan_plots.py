"""A picture of a fitted Kolmogorov-Arnold network: its nodes, and on every edge the function that it applies."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnft_mcmc.expressivity.formulas import Formula
from nnft_mcmc.expressivity.kan_fitting import Edges, KanFit, layer_edges
from nnft_mcmc.runs.plots import EXACT, MEASURED

FloatArray = NDArray[np.float64]

LAYER_HEIGHT, NODE_WIDTH = 2.2, 1.7  # inches
FAINTEST = 0.15


def plot_network(found: KanFit, path: Path, formula: Formula | None = None) -> Path:
    """Inputs at the bottom, the output on top; in the middle of every edge phi_ij against z_j, as at the data.

    The more an edge does, the darker it is: |phi_ij|_1 against the largest of its layer. With `formula` the function
    that was read is drawn over it, with its name.
    """
    layers, sizes = layer_edges(found), found.network.sizes
    most = max(layer.values.shape[1] * layer.values.shape[2] for layer in layers)
    height = LAYER_HEIGHT * len(layers)
    figure = Figure(figsize=(max(4.0, NODE_WIDTH * most), height))
    canvas = figure.add_axes((0, 0, 1, 1))
    canvas.set(xlim=(0, 1), ylim=(0, 1))
    canvas.set_axis_off()
    for number, layer in enumerate(layers):
        _draw_layer(figure, canvas, layer, number, len(layers), formula)
    _draw_nodes(canvas, sizes)
    figure.savefig(path, dpi=150)
    return path


def _height(level: float, number: int) -> float:
    return 0.07 + 0.86 * level / number


def _places(count: int) -> FloatArray:
    return (np.arange(count) + 0.5) / count


def _draw_layer(figure: Figure, canvas: Axes, layer: Edges, number: int, of: int, formula: Formula | None) -> None:
    above, below = layer.values.shape[1:]
    low, middle, high = (_height(number + part, of) for part in (0.0, 0.5, 1.0))
    shade = FAINTEST + (1 - FAINTEST) * layer.norms / layer.norms.max()
    places = _places(above * below).reshape(below, above)
    wide, tall = 0.75 / (above * below), 0.42 * (high - low)
    wide = min(wide, 0.25)
    for j in range(below):
        for i in range(above):
            x, alpha = places[j, i], float(shade[i, j])
            canvas.plot([_places(below)[j], x], [low, middle - tall / 2], color="0.3", alpha=alpha, lw=1.2)
            canvas.plot([x, _places(above)[i]], [middle + tall / 2, high], color="0.3", alpha=alpha, lw=1.2)
            axes = figure.add_axes((x - wide / 2, middle - tall / 2, wide, tall))
            _draw_edge(axes, layer, i, j, alpha)
            if formula is not None:
                reading = formula.readings[number][i][j]
                z = np.linspace(layer.z[:, j].min(), layer.z[:, j].max(), 200)
                shown = reading(z) - reading(layer.z[:, j]).mean() + layer.values[:, i, j].mean()
                axes.plot(z, shown, color=EXACT, ls="--", lw=1.2)
                axes.set_title(
                    formula.forms[number][i][j], fontsize=8, pad=2, bbox={"fc": "white", "ec": "none", "pad": 1}
                )


def _draw_edge(axes: Axes, layer: Edges, i: int, j: int, alpha: float) -> None:
    order = np.argsort(layer.z[:, j])
    axes.plot(layer.z[order, j], layer.values[order, i, j], color=MEASURED, alpha=alpha, lw=2)
    axes.tick_params(labelsize=6, length=2, pad=1)
    axes.locator_params(nbins=3)


def _draw_nodes(canvas: Axes, sizes: tuple[int, ...]) -> None:
    for level, count in enumerate(sizes):
        y = _height(level, len(sizes) - 1)
        canvas.plot(_places(count), np.full(count, y), "o", color="black", ms=6, clip_on=False)
        for k, x in enumerate(_places(count), 1):
            name = rf"$x_{{{k}}}$" if level == 0 else r"$\phi$" if level == len(sizes) - 1 else ""
            canvas.text(x + 0.02, y, name, fontsize=11, va="center")
