"""A one-node Kubernetes on this machine, from Kubernetes' own source: no Docker, no image registry. Linux, root.

Everything it keeps lies in one cache folder (`layout.py`), and `down` puts back what it touches elsewhere.
"""
