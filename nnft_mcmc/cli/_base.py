"""What the commands share: exit codes, and float64.

JAX and everything built on it is imported when a command runs, so that `--help` answers at once.
"""

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


def use_float64() -> None:
    """Make JAX compute in float64, which the package never does on import."""
    import jax

    jax.config.update("jax_enable_x64", True)
