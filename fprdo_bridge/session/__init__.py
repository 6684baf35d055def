"""The Python API: an encoder in a worker process that takes weights or distortions from the caller."""
