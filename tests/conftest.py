"""Settings of the test run."""

from hypothesis import settings

# Time is no property of the code: a loaded machine must not fail a test.
settings.register_profile("project", deadline=None)
settings.load_profile("project")
