"""Helm, built from its module, for tests of the chart."""
