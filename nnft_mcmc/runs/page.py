"""`nnft report RUN`: one self-contained HTML page of a run: verdicts, numbers, plots, configuration.

The plots are inside the page, so that it is one file, to send or to keep. It shows what `nnft measure`, `nnft diagnose`
and `nnft compare RUN exact` print, and every plot that other commands have left in RUN/plots.
"""

import base64
import html
from collections.abc import Iterator
from pathlib import Path

from nnft_mcmc import _checks
from nnft_mcmc.runs import compare_report, report
from nnft_mcmc.runs.compare import compare
from nnft_mcmc.runs.diagnose import diagnose
from nnft_mcmc.runs.measure import measure
from nnft_mcmc.runs.plots import plot_correlator
from nnft_mcmc.runs.plots_of_diagnosis import plot_diagnosis
from nnft_mcmc.runs.store import RunDirectory

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc; }
pre { font: 12.5px/1.45 ui-monospace, monospace; background: #f6f6f6; padding: .8rem; overflow-x: auto; }
img { max-width: 100%; } .good { color: #176b2c; } .bad { color: #a11b1b; } .verdict { font-weight: 600; }
"""


def write(run: RunDirectory, path: Path) -> Path:
    """The page of a run, as `path`."""
    body = "\n".join(_sections(run))
    title = html.escape(f"{run.path.name} - nnft_mcmc")
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{html.escape(run.path.name)}</h1>\n{body}\n</body>\n</html>\n"
    )
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise _checks.InputError(f"cannot write {path}: {error.strerror}; give another --out file.") from None
    return path


def _sections(run: RunDirectory) -> Iterator[str]:
    manifest = run.manifest()
    shown: set[Path] = set()
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    yield _paragraph(f"{manifest['draws']} of {manifest['num_samples']} draws per chain, seed {manifest['seed']}.")

    found = diagnose(run)
    yield "<h2>Can it be believed?</h2>"
    yield _verdict(found.verdict, found.converged)
    yield _text(report.diagnosis(found).rpartition("\n\n")[0])
    yield _image(plot_diagnosis(run, found), shown)

    measured = measure(run)
    yield "<h2>Observables</h2>"
    yield _text(report.measurements(measured))
    correlator = plot_correlator(run, measured)
    if correlator is not None:
        yield _image(correlator, shown)

    yield "<h2>Against the exact answer</h2>"
    try:
        comparison = compare(run, "exact")
    except _checks.InputError as error:
        yield _paragraph(f"There is none to compare with: {error}")
    else:
        yield _verdict(" ".join(compare_report.sentences(comparison)), comparison.agrees)
        yield _text(compare_report.text(comparison).partition("\n\n")[0])
        yield _image(compare_report.plot(run, comparison), shown)

    others = sorted(set(run.plots.glob("*.png")) - shown)
    if others:
        yield "<h2>Other plots</h2>"
        yield from (f"<h3>{html.escape(plot.stem)}</h3>\n{_image(plot, shown)}" for plot in others)

    yield "<h2>Configuration</h2>"
    yield _text((run.path / "config.toml").read_text(encoding="utf-8"))
    yield _paragraph(f"Made with {versions}.")


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _verdict(text: str, good: bool) -> str:
    return f'<p class="verdict {"good" if good else "bad"}">{html.escape(text)}</p>'


def _text(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>"


def _image(path: Path, shown: set[Path]) -> str:
    """The picture itself, inside the page."""
    shown.add(path)
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}">'
