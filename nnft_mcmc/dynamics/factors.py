r"""Derivatives of a network with respect to its parameters, in factored form where the network allows it.

A matrix W that a network uses once, in a product z = W h, has the derivative

    dphi/dW_mc = sum_a delta_ma h_ac,     delta = dphi/dz,

a runs over the columns of h: one for a dense layer, the pixels for a convolution, the tokens for attention. The tangent
kernel of this block then is

    sum_mc dphi/dW_mc dphi'/dW_mc = sum_ab (delta_a . delta'_b) (h_a . h'_b),

which needs a (m + c) numbers per point instead of m c (Novak, Sohl-Dickstein and Schoenholz, arXiv:2206.08720, where
this is a case of structured derivatives). `factorise` finds such products in the trace of `architecture.forward`: the
parameter may be reshaped and transposed before, and lie inside of jit, but must enter one product and nothing else. Any
other parameter has its derivative as it is.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
from jaxtyping import Array, Float

from nnft_mcmc.architectures import Architecture

Theta = Mapping[str, Array]
Path = tuple[int, ...]  # numbers of equations, from the outer program inwards

_RELAYOUTS = ("reshape", "transpose", "squeeze", "copy")
_CALLS = ("jit", "pjit")


class Product(NamedTuple):
    """Where a parameter enters z = W h: the equation, which operand it is, and m, a and c of the formula above."""

    path: Path
    operand: int
    rows: int
    columns: int
    contracted: int

    @property
    def size(self) -> int:
        """Numbers per point."""
        return self.columns * (self.rows + self.contracted)

    @property
    def operations(self) -> int:
        """Operations for each pair of points."""
        return 2 * self.columns**2 * (self.rows + self.contracted + 1)


class Factors(NamedTuple):
    """Derivatives at one point: dense {name: (size,)}, and products {name: (delta (a, m), h (a, c))}."""

    dense: dict[str, Array]
    products: dict[str, tuple[Array, Array]]


class Structure(NamedTuple):
    """The traced network and the products found in it, by parameter; `activations` counts numbers that depend on x."""

    jaxpr: ClosedJaxpr
    products: dict[str, Product]
    activations: int


def factorise(architecture: Architecture, theta: Mapping[str, jax.ShapeDtypeStruct]) -> Structure:
    """Trace the network and find the parameters that enter one matrix product and nothing else."""
    x = jax.ShapeDtypeStruct((architecture.dim,), jnp.result_type(float))
    jaxpr = jax.make_jaxpr(architecture.forward)(theta, x)
    inputs = dict(zip(jaxpr.jaxpr.invars[:-1], sorted(theta), strict=True))
    uses = _uses(jaxpr.jaxpr, inputs, ())
    products = {name: _product(*found[0]) for name, found in uses.items() if len(found) == 1}
    activations = _dependent_size(jaxpr.jaxpr, {jaxpr.jaxpr.invars[-1]})
    return Structure(jaxpr, {name: product for name, product in products.items() if product}, activations)


def factors_at(
    structure: Structure, factored: Sequence[str], names: Sequence[str]
) -> Callable[[Theta, Float[Array, " dim"]], Factors]:
    """(theta, x) -> the derivatives at x, those of `factored` as products."""
    products = {name: structure.products[name] for name in factored}

    def factors(theta: Theta, x: Array) -> Factors:
        dtype = jnp.result_type(x, *theta.values())

        def phi(shifts: dict[str, Array], own: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
            arguments = [{**theta, **own}[name] for name in sorted(theta)]
            others: dict[str, Array] = {}
            (value,) = _evaluate(structure.jaxpr, [*arguments, x], products, shifts, others, ())
            return value, others

        shifts = {name: jnp.zeros((p.rows, p.columns), dtype) for name, p in products.items()}
        own = {name: theta[name] for name in names if name not in products}
        (deltas, dense), others = jax.grad(phi, argnums=(0, 1), has_aux=True)(shifts, own)
        return Factors(
            {name: value.reshape(-1) for name, value in dense.items()},
            {name: (deltas[name].T, others[name]) for name in products},
        )

    return factors


def contract(left: Factors, right: Factors, weights: Mapping[str, Array]) -> dict[str, Float[Array, "rows columns"]]:
    """Theta of every block from the factors at two sets of points, the points first; weights multiply dtheta_i."""
    blocks = {}
    for name, value in left.dense.items():
        if weights[name].size == 1:
            blocks[name] = jnp.squeeze(weights[name]) * jnp.dot(value, right.dense[name].T)
        else:
            blocks[name] = jnp.dot(value * weights[name], right.dense[name].T)
    for name, (delta, h) in left.products.items():
        other_delta, other_h = right.products[name]
        if delta.shape[1] == 1:
            overlap = jnp.dot(delta[:, 0], other_delta[:, 0].T) * jnp.dot(h[:, 0], other_h[:, 0].T)
        else:
            pairs = "iam,jbm->ijab"
            overlap = jnp.sum(jnp.einsum(pairs, delta, other_delta) * jnp.einsum(pairs, h, other_h), axis=(2, 3))
        blocks[name] = jnp.squeeze(weights[name]) * overlap
    return blocks


def _uses(jaxpr: Jaxpr, tracked: dict[Any, str], path: Path) -> dict[str, list[tuple[Path, JaxprEqn, int]]]:
    """Every equation that takes a tracked variable, by parameter; `tracked` grows by the variables that relabel it."""
    uses: dict[str, list[tuple[Path, JaxprEqn, int]]] = {name: [] for name in tracked.values()}
    for number, equation in enumerate(jaxpr.eqns):
        entering = [k for k, v in enumerate(equation.invars) if isinstance(v, Var) and v in tracked]
        if not entering:
            continue
        if equation.primitive.name in _RELAYOUTS:
            tracked[equation.outvars[0]] = tracked[equation.invars[0]]
        elif equation.primitive.name in _CALLS:
            inner = equation.params["jaxpr"].jaxpr
            inside = {inner.invars[k]: tracked[equation.invars[k]] for k in entering}
            for name, found in _uses(inner, inside, (*path, number)).items():
                uses[name] += found
            handed_on = zip(equation.outvars, inner.outvars, strict=True)
            tracked.update({out: inside[v] for out, v in handed_on if isinstance(v, Var) and v in inside})
        else:
            for k in entering:
                uses[tracked[equation.invars[k]]].append(((*path, number), equation, k))
    if not path:  # a parameter that is itself the output has no product
        for v in jaxpr.outvars:
            if isinstance(v, Var) and v in tracked:
                uses[tracked[v]] += [((), jaxpr.eqns[0], 0)] * 2
    return uses


def _product(path: Path, equation: JaxprEqn, operand: int) -> Product | None:
    """The product that an equation is, or None."""
    if equation.primitive.name != "dot_general":
        return None
    contracting, batch = equation.params["dimension_numbers"]
    if batch[0]:
        return None
    shapes = [_shape(v) for v in equation.invars]
    contracted = math.prod(shapes[operand][k] for k in contracting[operand])
    rows, columns = (math.prod(shapes[k]) // contracted for k in (operand, 1 - operand))
    return Product(path, operand, rows, columns, contracted)


def _evaluate(
    program: ClosedJaxpr,
    arguments: Sequence[Any],
    products: Mapping[str, Product],
    shifts: Mapping[str, Array],
    others: dict[str, Array],
    path: Path,
) -> list[Any]:
    """Outputs of a program with a shift added to the output of each product, whose other operand goes to `others`."""
    jaxpr = program.jaxpr
    values: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*program.consts, *arguments], strict=True))

    def read(v: Any) -> Any:
        return v.val if isinstance(v, Literal) else values[v]

    for number, equation in enumerate(jaxpr.eqns):
        here, inputs = (*path, number), [read(v) for v in equation.invars]
        if any(len(p.path) > len(here) and p.path[: len(here)] == here for p in products.values()):
            outputs = _evaluate(equation.params["jaxpr"], inputs, products, shifts, others, here)
        else:
            result = equation.primitive.bind(*inputs, **equation.primitive.get_bind_params(equation.params))
            outputs = list(result) if equation.primitive.multiple_results else [result]
        for name, product in products.items():
            if product.path != here:
                continue
            shift = shifts[name] if product.operand == 0 else shifts[name].T  # free axes of the left operand come first
            outputs = [outputs[0] + shift.reshape(outputs[0].shape)]
            others[name] = _other_operand(equation, inputs, product)
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _other_operand(equation: JaxprEqn, inputs: Sequence[Array], product: Product) -> Float[Array, "a c"]:
    """h of a product W h."""
    h = inputs[1 - product.operand]
    contracting, _ = equation.params["dimension_numbers"]
    last = tuple(contracting[1 - product.operand])
    first = tuple(k for k in range(h.ndim) if k not in last)
    return jnp.transpose(h, first + last).reshape(product.columns, product.contracted)


def _shape(v: Any) -> tuple[int, ...]:
    return v.aval.shape


def _dependent_size(jaxpr: Jaxpr, dependent: set[Var]) -> int:
    """How many numbers are computed that depend on the variables in `dependent`."""
    total = 0
    for equation in jaxpr.eqns:
        entering = [k for k, v in enumerate(equation.invars) if isinstance(v, Var) and v in dependent]
        if not entering:
            continue
        dependent.update(equation.outvars)
        total += sum(math.prod(_shape(v)) for v in equation.outvars)
        if equation.primitive.name in _CALLS:
            inner = equation.params["jaxpr"].jaxpr
            total += _dependent_size(inner, {inner.invars[k] for k in entering})
    return total
