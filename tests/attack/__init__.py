"""Attacks on the mounts of Sandboxes, on a real kubelet, judged by the host's own files.

`canary.py` notices what happens outside of every root, `ground.py` runs attacks, and `test_raw_build.py` shows that
both notice: the same attacks succeed against an operator that mounts the requested paths.
"""
