"""Draws, fields and densities of an architecture, compiled once for each."""

import functools

import jax
import numpy as np


@functools.partial(jax.jit, static_argnums=0)
def draw(net, seed=0):
    return net.sample_parameters(jax.random.key(seed))


@functools.partial(jax.jit, static_argnums=0)
def field(net, theta, x):
    return net(theta, x)


@functools.partial(jax.jit, static_argnums=0)
def log_prior(net, theta):
    return net.log_prior(theta)


def on_host(theta):
    return {name: np.asarray(value) for name, value in theta.items()}
