"""Tests of one module at a time, without a cluster, a client or a real clock."""
