"""Weights rounded so that a layer's output, not each weight, stays near.

Optimal Brain Compression (Frantar, Singh and Alistarh, arXiv 2208.11580) in the order and with the Cholesky
form of GPTQ (Frantar et al., arXiv 2210.17323): after each weight is rounded, those not yet rounded make up
for it as well as the inputs' covariance allows. It solves in closed form what AdaRound (Nagel et al.,
arXiv 2004.10568) poses for a layer.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..qdq.formats import MIN_SCALE, QMAX

DAMPING = 0.01  # of the mean variance, added to each: so many inputs do not tell every direction
NARROWEST = 0.5  # share of the largest magnitude that is tried last
CANDIDATES = 16
BLOCK = 128  # columns; what lies beyond them is brought up to date once a block


def damped(covariance: Tensor) -> Tensor:
    """A covariance, shape (G, n, n), that can be inverted."""
    variances = covariance.diagonal(dim1=1, dim2=2)
    extra = DAMPING * variances.mean(dim=1, keepdim=True) + torch.finfo(torch.float32).tiny
    return covariance + torch.diag_embed(extra.expand_as(variances))


def best_steps(weights: Tensor, covariance: Tensor) -> Tensor:
    """Step sizes with which rounding to the nearest changes the output least, one a row.

    Args:
        weights: shape (G, R, n), for G groups of R output channels.
        covariance: of the inputs of each group, shape (G, n, n).

    Returns:
        Shape (G, R, 1), of the weights' dtype.
    """
    largest = weights.abs().amax(dim=2, keepdim=True)
    largest = (torch.where(largest > 0, largest, 1.0) / QMAX).clamp_min(MIN_SCALE)
    best, least = largest, torch.full_like(largest, torch.inf)
    for share in np.linspace(1.0, NARROWEST, CANDIDATES):
        steps = largest * share
        error = (weights / steps).round().clamp(-QMAX, QMAX) * steps - weights
        damage = (error @ covariance).mul_(error).sum(dim=2, keepdim=True)
        best = torch.where(damage < least, steps, best)
        least = torch.minimum(damage, least)
    return best


def round_together(weights: Tensor, covariance: Tensor, steps: Tensor) -> Tensor:
    """Integers -127..127 for the weights, as floats.

    Args:
        weights: float64, shape (G, R, n).
        covariance: positive definite, float64, shape (G, n, n).
        steps: float64, shape (G, R, 1).
    """
    groups, rows, columns = weights.shape
    order = covariance.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True)
    along_rows = order[:, None, :].expand(groups, rows, columns)
    open_weights = weights.gather(2, along_rows)
    upper = _inverse_factor(covariance, order)
    integers = torch.empty_like(open_weights)
    for start in range(0, columns, BLOCK):
        stop = min(start + BLOCK, columns)
        errors = []
        for column in range(start, stop):
            value = open_weights[..., column : column + 1]
            integers[..., column : column + 1] = (value / steps).round().clamp(-QMAX, QMAX)
            missing = value - integers[..., column : column + 1] * steps
            errors.append(missing / upper[:, column, column, None, None])
            open_weights[..., column + 1 : stop] -= errors[-1] * upper[:, None, column, column + 1 : stop]
        open_weights[..., stop:] -= torch.cat(errors, dim=2) @ upper[:, start:stop, stop:]
    return torch.empty_like(integers).scatter_(2, along_rows, integers)


def _inverse_factor(covariance: Tensor, order: Tensor) -> Tensor:
    """The upper Cholesky factor of the inverse, rows and columns in the given order."""
    groups, size = order.shape
    square = (groups, size, size)
    ordered = covariance.gather(1, order[:, :, None].expand(square)).gather(
        2, order[:, None, :].expand(square)
    )
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(ordered)), upper=True)
