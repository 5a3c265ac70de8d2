"""Groups for the tests of spaces."""

from functools import partial

import pytest

from tests.support.groups import make_group


@pytest.fixture
def group(app):
    """`await group(owner, ada, grace)`: the id of a new group in the organisation of `owner`."""
    return partial(make_group, app)
