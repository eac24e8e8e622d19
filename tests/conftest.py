"""How the tests are dealt out when several processes run them (`pytest -n 2 --dist loadgroup`)."""
import pytest


def pytest_collection_modifyitems(items):
    "The tests of a file share what it has set up, those of the site share the site: they stay together."
    for item in items:
        of = item.path.parent.name
        item.add_marker(pytest.mark.xdist_group(of if of == "site" else item.path.stem))
