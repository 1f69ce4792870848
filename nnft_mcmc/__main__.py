"""`python -m nnft_mcmc` is `nnft`."""

import sys

from nnft_mcmc.cli import main

sys.exit(main())
