"""What holds for all tests."""

from hypothesis import settings

settings.register_profile("vstore", deadline=None)  # timings never go into a test
settings.load_profile("vstore")
