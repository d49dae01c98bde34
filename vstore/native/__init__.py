"""Machine code: numba kernels compiled once, run without numba; NumPy references of each."""
