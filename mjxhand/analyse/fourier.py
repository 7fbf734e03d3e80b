"""Random Fourier features: ridge regression on them approximates a kernel machine with a Gaussian
kernel (Rahimi & Recht 2007, NIPS 20).
"""

import numpy as np

FEATURES = 300
COMPONENTS = 40
"""Principal components of the standardised activity of which features are made."""


def fourier_features(
    x: np.ndarray, features: int = FEATURES, components: int = COMPONENTS, seed: int = 0
) -> np.ndarray:
    """Standardised x and random Fourier features of its leading components, `[n, U + F]`.

    x stays in whole, so that a linear decoder of x is nested in one of these.

    z = √2 cos(ω·x/s + b) with ω normal, b uniform and s the median distance between samples,
    of components scaled to unit variance over the leading one's.
    """
    rng = np.random.default_rng(seed)
    deviation = x.std(0)
    alive = deviation > 1e-6 * deviation.max(initial=1e-30)
    centred = (x - x.mean(0)) / np.where(alive, deviation, np.inf)
    values, vectors = np.linalg.eigh(
        np.cov(centred, rowvar=False).reshape(x.shape[1], -1)
    )
    lead = vectors[:, ::-1][:, :components]
    low = (centred @ lead / np.sqrt(max(values[-1], 1e-12))).astype(np.float32)
    some = low[rng.integers(len(low), size=(2, 2000))]
    scale = np.median(np.linalg.norm(some[0] - some[1], axis=1)) or 1.0
    omega = rng.normal(size=(low.shape[1], features)) / scale
    phase = rng.uniform(0, 2 * np.pi, features)
    waves = np.sqrt(2) * np.cos(low @ omega.astype(np.float32) + phase)
    return np.concatenate(
        [centred.astype(np.float32), waves.astype(np.float32)], axis=1
    )
