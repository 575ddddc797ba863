import inspect
import pickle
import typing

import pytest

from quillread import errors
from quillread.errors import ExitCode, Fault, FaultKind, printable

TREE = [
    (errors.UsageError, "usage", ExitCode.USAGE),
    (errors.ConfigError, "config", ExitCode.USAGE),
    (errors.ModelError, "model", ExitCode.USAGE),
    (errors.MissingExtraError, "extra", ExitCode.USAGE),
    (errors.InputError, "input", ExitCode.INPUT_FAILED),
    (errors.ImageError, "image", ExitCode.INPUT_FAILED),
    (errors.DataError, "data", ExitCode.INPUT_FAILED),
    (errors.SplitError, "data", ExitCode.INPUT_FAILED),
    (errors.OutputError, "output", ExitCode.INPUT_FAILED),
    (errors.TrainingError, "training", ExitCode.INPUT_FAILED),
    (errors.WorkerError, "crash", ExitCode.INPUT_FAILED),
    (errors.WorkerDiedError, "crash", ExitCode.INPUT_FAILED),
    (errors.WorkerTimeoutError, "timeout", ExitCode.INPUT_FAILED),
    (errors.WorkerMemoryError, "memory", ExitCode.INPUT_FAILED),
    (errors.QuillreadError, "internal", ExitCode.BUG),
]


@pytest.mark.parametrize(("error", "kind", "code"), TREE)
def test_each_error_has_its_kind_and_exit_code(error: type[errors.QuillreadError], kind: str, code: ExitCode):
    assert error("x").exit_code == code
    assert error("x", hint="y").fault == Fault(kind, "x", "y")  # type: ignore[arg-type]


def test_every_error_is_in_the_tree():
    def is_error(found: object) -> bool:
        return inspect.isclass(found) and issubclass(found, errors.QuillreadError)

    assert {found for _, found in inspect.getmembers(errors, is_error)} == {error for error, _, _ in TREE}
    assert {kind for _, kind, _ in TREE} | {"stopped"} == set(typing.get_args(FaultKind))


def test_exit_codes_are_those_that_are_documented():
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 130, 129, 143]


def test_a_fault_is_put_into_words_with_its_hint_below():
    assert str(Fault("image", "page.png: is empty", "scan it again")) == "page.png: is empty\n  hint: scan it again"
    assert str(Fault("image", "page.png: is empty")) == "page.png: is empty"


def test_the_hint_follows_the_message():
    assert str(errors.InputError("page.png: is empty", hint="scan it again")) == (
        "page.png: is empty\n  hint: scan it again"
    )


def test_an_error_without_hint_is_its_message():
    assert str(errors.InputError("page.png: is empty")) == "page.png: is empty"


def test_an_error_survives_the_way_to_another_process():
    error = pickle.loads(pickle.dumps(errors.ImageError("page.png: is empty", hint="scan it again")))
    assert (type(error), error.message, error.hint) == (errors.ImageError, "page.png: is empty", "scan it again")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Brief – 1.jpg", "Brief – 1.jpg"),
        ("a\x1b[2Jb\x9bc", "a\ufffd[2Jb\ufffdc"),
        ("a\nquill: b\r\t\u2028", "a\ufffdquill: b\ufffd\ufffd\ufffd"),
        ("gpj.\u202efdp", "gpj.\ufffdfdp"),
        ("caf\udce9", "caf\ufffd"),
        (
            "\ue8bf \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u00a0",
            "\ue8bf \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u00a0",
        ),
    ],
    ids=ascii,
)
def test_what_a_terminal_would_obey_is_shown_as_a_sign(text: str, shown: str):
    assert printable(text) == shown
    assert str(Fault("image", text, text)) == f"{shown}\n  hint: {shown}"
