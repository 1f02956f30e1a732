"""A pytest plugin: a file of tests runs in one worker; another one would build and serve its models again.

Files that write to one folder of the clone are in a group of their own, by ``pytest.mark.xdist_group``.
"""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make each file a group, unless it is in one."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
