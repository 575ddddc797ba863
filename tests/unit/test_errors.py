import pickle

import pytest

from quillread import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError, 2),
        (errors.ConfigError, 2),
        (errors.ModelError, 2),
        (errors.MissingExtraError, 2),
        (errors.InputError, 3),
        (errors.ImageError, 3),
        (errors.DataError, 3),
        (errors.OutputError, 3),
        (errors.WorkerDiedError, 3),
        (errors.WorkerTimeoutError, 3),
        (errors.WorkerMemoryError, 3),
        (errors.QuillreadError, 1),
    ],
)
def test_each_error_has_its_exit_code(error: type[errors.QuillreadError], code: int):
    assert error("x").exit_code == code


def test_the_hint_follows_the_message():
    assert str(errors.InputError("page.png: is empty", hint="scan it again")) == (
        "page.png: is empty\n  hint: scan it again"
    )


def test_an_error_without_hint_is_its_message():
    assert str(errors.InputError("page.png: is empty")) == "page.png: is empty"


def test_an_error_survives_the_way_to_another_process():
    error = pickle.loads(pickle.dumps(errors.ImageError("page.png: is empty", hint="scan it again")))
    assert (type(error), error.message, error.hint) == (errors.ImageError, "page.png: is empty", "scan it again")
