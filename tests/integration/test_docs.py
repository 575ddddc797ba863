"""Runs the examples of the documentation: every block marked `sh run` or `python run`."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(sh|python) run\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(language, code, id=f"{page.name}-{number}")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, (language, code) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")), 1)
]


@pytest.mark.slow
@pytest.mark.parametrize(("language", "code"), EXAMPLES)
def test_example_of_the_documentation_runs(language, code, tmp_path):
    for page in (ROOT / "examples").glob("*.jpg"):
        shutil.copy(page, tmp_path)
    command = ["bash", "-euo", "pipefail", "-c", code] if language == "sh" else [sys.executable, "-c", code]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {
        **os.environ,
        "PATH": path,
        "PYTHONIOENCODING": "utf-8",
    }  # their `print` wants a terminal with letters
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_documentation_has_examples():
    assert len(EXAMPLES) >= 4
