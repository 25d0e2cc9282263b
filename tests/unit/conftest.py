"""Hypothesis without a deadline: how fast this machine is today is nothing that these tests are about."""

from hypothesis import settings

settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
