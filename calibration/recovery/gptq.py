"""Weights rounded so that a layer's output, not each weight, stays near.

Optimal Brain Compression (Frantar, Singh and Alistarh, arXiv 2208.11580) in the order and with the Cholesky
form of GPTQ (Frantar et al., arXiv 2210.17323): after each weight is rounded, those not yet rounded make up
for it as well as the inputs' covariance allows. It solves in closed form what AdaRound (Nagel et al.,
arXiv 2004.10568) poses for a layer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..ranges.integer_format import WEIGHT_INT8

DAMPING = 0.01  # of the mean variance, added to each: so many inputs do not tell every direction
LOST_DIGITS = 1e-10  # of the mean square, which a variance near it is no better known than
NARROWEST = 0.5  # share of the largest magnitude that is tried last
CANDIDATES = 16
BLOCK = 128  # columns; what lies beyond them is brought up to date once a block

Doubles = NDArray[np.float64]


class Moments:
    """The mean and the covariance of a layer's inputs, gathered batch by batch in float64."""

    def __init__(self) -> None:
        self._count = 0
        self._sum: Doubles = np.zeros(())
        self._products: Doubles = np.zeros(())

    def add(self, inputs: NDArray[np.floating]) -> None:
        """Take in more inputs, shape (G, places, n)."""
        inputs = inputs.astype(np.float64)
        self._count += inputs.shape[1]
        self._sum = self._sum + inputs.sum(axis=1)
        self._products = self._products + np.matmul(inputs.transpose(0, 2, 1), inputs)

    def covariance(self, *, centred: bool) -> Doubles:
        """Shape (G, n, n); around zero where no bias can take the mean."""
        found = self._products / self._count
        if centred:
            mean = self._sum / self._count
            square = np.diagonal(found, axis1=1, axis2=2).mean(axis=1)  # what is left of it may be rounding
            found -= mean[:, :, None] * mean[:, None, :]
            found += (LOST_DIGITS * square)[:, None, None] * np.eye(mean.shape[1])
        return found


def damped(covariance: Doubles) -> Doubles:
    """A covariance, shape (G, n, n), that can be inverted."""
    variances = np.diagonal(covariance, axis1=1, axis2=2)
    extra = DAMPING * variances.mean(axis=1) + np.finfo(np.float32).tiny
    return covariance + extra[:, None, None] * np.eye(variances.shape[1])


def best_steps(weights: NDArray[np.floating], covariance: NDArray[np.floating]) -> NDArray[np.floating]:
    """Step sizes with which rounding to the nearest changes the output least, one a row.

    Args:
        weights: shape (G, R, n), for G groups of R output channels.
        covariance: of the inputs of each group, of the same dtype, shape (G, n, n).

    Returns:
        Shape (G, R, 1), of the weights' dtype.
    """
    largest = np.abs(weights).max(axis=2, keepdims=True)
    largest = WEIGHT_INT8.parameters(-largest, largest)[0].astype(weights.dtype)
    best, least = largest, np.full_like(largest, np.inf)
    for share in np.linspace(1.0, NARROWEST, CANDIDATES).astype(weights.dtype):
        steps = largest * share
        error = WEIGHT_INT8.round(weights, steps) * steps - weights
        harm = (np.matmul(error, covariance) * error).sum(axis=2, keepdims=True)
        best = np.where(harm < least, steps, best)
        least = np.minimum(harm, least)
    return best


def round_together(weights: Doubles, covariance: Doubles, steps: Doubles) -> Doubles:
    """Integers -127..127 for the weights, as floats.

    Args:
        weights: shape (G, R, n).
        covariance: positive definite, shape (G, n, n).
        steps: shape (G, R, 1).
    """
    columns = weights.shape[2]
    order = np.argsort(-np.diagonal(covariance, axis1=1, axis2=2), axis=1, kind="stable")
    open_weights = np.take_along_axis(weights, order[:, None, :], axis=2)
    upper = _inverse_factor(covariance, order)
    integers = np.empty_like(open_weights)
    for start in range(0, columns, BLOCK):
        stop = min(start + BLOCK, columns)
        errors = np.empty_like(open_weights[..., start:stop])
        for column in range(start, stop):
            value = open_weights[..., column : column + 1]
            rounded = WEIGHT_INT8.round(value, steps)
            error = (value - rounded * steps) / upper[:, None, column, column, None]
            open_weights[..., column + 1 : stop] -= error * upper[:, None, column, column + 1 : stop]
            integers[..., column : column + 1] = rounded
            errors[..., column - start : column - start + 1] = error
        open_weights[..., stop:] -= np.matmul(errors, upper[:, start:stop, stop:])
    found = np.empty_like(integers)
    np.put_along_axis(found, order[:, None, :], integers, axis=2)
    return found


def _inverse_factor(covariance: Doubles, order: NDArray[np.intp]) -> Doubles:
    """The upper Cholesky factor of the inverse, rows and columns in the given order.

    With the order reversed, a lower factor is an upper one: of the covariance, whose inverse is looked for.
    """
    backwards = order[:, ::-1]
    rows = np.take_along_axis(covariance, backwards[:, :, None], axis=1)
    ordered = np.take_along_axis(rows, backwards[:, None, :], axis=2)
    upper = np.linalg.cholesky(ordered)[:, ::-1, ::-1]
    return np.linalg.inv(upper).astype(np.float64, copy=False)
