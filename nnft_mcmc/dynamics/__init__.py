"""Dynamics of networks: tangent kernels, solved and real training, width scaling and signal propagation."""
