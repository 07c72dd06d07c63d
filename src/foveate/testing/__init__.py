"""Suites that any extension must pass: a method, a model, a source.

    from foveate.testing import check_method, check_model, check_source

Each suite makes its own small data, raises `CheckFailed` at the first broken rule and returns
nothing when all hold. They need no test framework, and torch only where the model under test has
loaded it.
"""

from foveate.testing.methods import check_method
from foveate.testing.models import check_model
from foveate.testing.rules import CheckFailed
from foveate.testing.sources import check_source

__all__ = ["CheckFailed", "check_method", "check_model", "check_source"]
