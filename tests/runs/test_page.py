"""The HTML page of a run: everything in one file, the verdicts of the commands, and what is refused."""

import html
import re

import pytest

from tests.runs.small import command, refused, sampled


def test_the_page_of_an_interacting_run(tmp_path):
    run = sampled(tmp_path / "phi4", sampler={"num_samples": 300})
    (run.plots / "extra<1>.png").write_bytes(b"not shown as text")
    code, out, _ = command("report", run.path)
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert (code, out) == (0, f"Wrote {run.path / 'report.html'}\n")
    diagnosis, observables = command("diagnose", run.path)[1], command("measure", run.path)[1]
    assert html.escape(diagnosis.rpartition("\n")[0].rpartition("\n")[0].splitlines()[-1]) in page
    assert html.escape(observables.splitlines()[2]) in page
    assert "transfer matrix of Mehler kernels" in page
    assert html.escape('name = "scalar_net"') in page
    assert page.count("data:image/png;base64,") == 4
    assert html.escape("extra<1>") in page
    assert not re.search(r'(src|href)="(?!data:)', page)


@pytest.mark.slow
def test_a_run_without_an_exact_answer(tmp_path):
    plane = {"name": "scalar_net", "dim": 2, "width": 4, "mass": 1.0, "cutoff": 3.0}
    sampler = {"num_samples": 60}
    run = sampled(tmp_path / "plane", architecture=plane, lattice={"shape": [3, 3]}, sampler=sampler)
    out = tmp_path / "page.html"
    assert command("report", run.path, "--out", out)[0] == 0
    page = out.read_text(encoding="utf-8")
    assert "There is none to compare with" in page
    assert "NOT converged" in page
    assert "cannot write" in refused("report", run.path, "--out", tmp_path / "none" / "page.html")


def test_not_a_run(tmp_path):
    assert refused("report", tmp_path / "none")
