"""Tests of Sandmount. Nothing here is part of what is installed."""
