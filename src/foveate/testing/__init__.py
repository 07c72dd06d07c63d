"""Test suites for extensions: methods, models, sources.

    from foveate.testing import check_method, check_model, check_source

Each suite creates its own small data, raises `CheckFailed` at the first violated rule and returns
None if all rules hold. No test framework is required, and torch only if the model under test has
loaded it.
"""

from foveate.testing.methods import check_method
from foveate.testing.models import check_model
from foveate.testing.rules import CheckFailed
from foveate.testing.sources import check_source

__all__ = ["CheckFailed", "check_method", "check_model", "check_source"]
