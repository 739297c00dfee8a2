"""The garbage collector stands still while a command is imported, and goes on after that."""

import gc

import pytest

from ops.importing import importing


def test_the_collector_goes_on_after_an_import_whatever_became_of_it() -> None:
    with importing():
        assert not gc.isenabled()
        with importing():
            pass
        assert not gc.isenabled(), "an import within an import is over"
    assert gc.isenabled()
    with pytest.raises(ImportError), importing():
        raise ImportError("there is no such module")
    assert gc.isenabled()
