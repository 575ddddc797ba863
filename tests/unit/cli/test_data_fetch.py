import argparse
import subprocess
import sys

import pytest

from quillread.cli.data_files import add_fetch
from quillread.data.fetch import FetchConfig, FetchReport
from quillread.data.imgur5k import SplitReport


@pytest.fixture
def calls(monkeypatch):
    """Stands in for the download: what it was called with; `calls.report` is what it gives."""
    calls = Calls()
    monkeypatch.setattr("quillread.data.fetch.fetch_imgur5k", calls)
    return calls


class Calls(list):
    report = FetchReport(5, 1, 2, {"d": "HTTP 404"}, {"c": "MD5"}, {}, (), {"train": SplitReport(5, 40, 30)})

    def __call__(self, folder, config, *, splits, progress):
        self.append((folder, config, splits))
        return self.report


def fetch(*arguments):
    parser = argparse.ArgumentParser(prog="quill data")
    add_fetch(parser.add_subparsers())
    args = parser.parse_args(["fetch", "imgur5k", *map(str, arguments)])
    return args.run(args)


def test_defaults_are_those_of_the_configuration(calls, tmp_path):
    fetch("--output", tmp_path)
    assert calls == [(tmp_path, FetchConfig(), ("train", "validation", "test"))]


def test_options_reach_the_configuration(calls, tmp_path):
    options = "--workers 3 --rate 2.5 --timeout 5 --retries 0 --base-url http://localhost --split test --split test"
    fetch("--output", tmp_path, *options.split())
    config = FetchConfig(workers=3, rate=2.5, timeout=5.0, retries=0, base_url="http://localhost")
    assert calls == [(tmp_path, config, ("test",))]


def test_dead_and_changed_images_alone_give_0(calls, tmp_path):
    assert fetch("--output", tmp_path) == 0


@pytest.mark.parametrize(("failed", "untried"), [({"x": "timed out"}, ()), ({}, ("x",))])
def test_images_that_a_later_run_may_bring_give_3(calls, tmp_path, failed, untried):
    calls.report = FetchReport(1, 0, 0, {}, {}, failed, untried)
    assert fetch("--output", tmp_path) == 3


def test_summary_counts_images_and_words_and_names_the_report(calls, tmp_path, capsys):
    fetch("--output", tmp_path)
    out = capsys.readouterr().out
    assert "5 images: 2 fetched, 1 there already, 1 dead links, 1 changed" in out
    assert "train: 5 of 5 annotated images, 30 of 40 words can be used" in out
    assert str(tmp_path / "fetch-report.json") in out


def test_parser_imports_neither_numpy_nor_pillow():
    code = "import sys, quillread.cli.data_files; sys.exit(bool({'numpy', 'PIL', 'cv2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
