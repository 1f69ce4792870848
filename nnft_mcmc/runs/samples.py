"""Files of points and the values of a function there."""

from pathlib import Path

import numpy as np

from nnft_mcmc import _checks

FORMATS = (".npz", ".csv")


def read_samples(name: str, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """inputs, targets and test_inputs of an .npz, or of a .csv whose last column holds the targets.

    Raises `InputError`, with `name` as that of the entry that gives the path, for what cannot be read.
    """
    _checks.one_of(f"the ending of {name}", path.suffix, FORMATS)
    try:
        if path.suffix == ".csv":
            table = np.loadtxt(path, delimiter=",", ndmin=2)
            return table[:, :-1], table[:, -1], None
        with np.load(path) as arrays:
            return arrays["inputs"], arrays["targets"], arrays.get("test_inputs")
    except OSError as error:
        raise _checks.InputError(
            f"cannot read {name} {path}: {error.strerror or error}; give a readable file."
        ) from None
    except (KeyError, ValueError) as error:
        raise _checks.InputError(
            f"{name} {path} does not hold what it should ({' '.join(str(error).split())}); an .npz holds inputs and"
            " targets, for training test_inputs if you like, a .csv numbers with commas, the target last."
        ) from None
