"""Shapes that pass between the routes."""

from jaxtyping import Array, Float

# Momenta (neurons, dim), cosines a and sines b (neurons,) of sum_i a_i cos(w_i.x) + b_i sin(w_i.x).
Waves = tuple[Float[Array, "neurons dim"], Float[Array, " neurons"], Float[Array, " neurons"]]
# Real and imaginary parts.
Pair = tuple[Array, Array]
