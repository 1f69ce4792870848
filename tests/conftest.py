"""JAX for the tests: float64 on the host's CPU, and no array broadcast against one of another rank unseen."""

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
