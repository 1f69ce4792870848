"""Many small runs: compiled code is kept between them, and they are written in few pieces."""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from nnft_mcmc.runs import results, stopping


@pytest.fixture(scope="session", autouse=True)
def _compiled_code_is_kept(tmp_path_factory):
    before = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", before[0])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before[1])
    compilation_cache.reset_cache()


@pytest.fixture(scope="session", autouse=True)
def _runs_are_written_in_few_chunks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "CHUNKS_PER_RUN", 5)
        # However long a draw takes; tests of this rule are in test_stopping.py.
        patch.setattr(stopping.Pace, "transitions", lambda self: 10**9)
        yield
