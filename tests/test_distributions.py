"""Policy distributions against scipy.stats, closed forms and sample frequencies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from mjxhand.config import ConfigError
from mjxhand.networks import distributions

NAMES = ("multi_categorical", "tanh_normal", "beta")
ACTUATORS, BINS = 20, 11


def make(name, actuators=ACTUATORS, bins=BINS):
    return distributions.make(name, actuators, bins)


def random_logits(distribution, shape, spread=1.5, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, spread, (*shape, distribution.num_outputs))
    return jnp.asarray(logits, jnp.float32)


def scipy_beta(distribution, logits):
    a, b = distribution.parameters(logits)
    return stats.beta(1.0 + np.asarray(a, np.float64), 1.0 + np.asarray(b, np.float64))


@pytest.mark.parametrize(
    ("name", "outputs"), [("multi_categorical", 220), ("tanh_normal", 40), ("beta", 40)]
)
def test_shapes_and_types(name, outputs):
    d = make(name)
    assert d.num_outputs == outputs
    logits = random_logits(d, (3, 5))
    action = d.sample(logits, jax.random.key(0))
    assert action.shape == d.mode(logits).shape == (3, 5, ACTUATORS)
    assert action.dtype == (jnp.int32 if name == "multi_categorical" else jnp.float32)
    assert d.log_prob(logits, action).shape == d.entropy(logits).shape == (3, 5)


def test_multi_categorical_equals_scipy():
    d = make("multi_categorical")
    logits = random_logits(d, (4,))
    action = d.sample(logits, jax.random.key(1))
    p = jax.nn.softmax(logits.reshape(4, ACTUATORS, BINS))
    one_hot = np.eye(BINS, dtype=int)[np.asarray(action)]
    log_prob, entropy = np.zeros(4), np.zeros(4)
    for i in range(4):
        for j in range(ACTUATORS):
            pmf = np.asarray(p[i, j], np.float64)
            pmf = pmf / pmf.sum()
            log_prob[i] += stats.multinomial(1, pmf).logpmf(one_hot[i, j])
            entropy[i] += stats.entropy(pmf) / ACTUATORS
    np.testing.assert_allclose(d.log_prob(logits, action), log_prob, rtol=1e-5)
    np.testing.assert_allclose(d.entropy(logits), entropy, rtol=1e-5)


def test_multi_categorical_frequencies_and_mode():
    d = make("multi_categorical", 2, 4)
    logits = jnp.array([0.0, 1.0, 2.0, -1e9, 3.0, 0.0, 0.0, 0.0])
    many = jnp.broadcast_to(logits, (40_000, 8))
    action = np.asarray(d.sample(many, jax.random.key(2)))
    p = np.asarray(jax.nn.softmax(logits.reshape(2, 4)))
    for j in range(2):
        counts = np.bincount(action[:, j], minlength=4)
        np.testing.assert_allclose(counts / 40_000, p[j], atol=0.01)
    assert (action[:, 0] != 3).all(), "drew a bin of probability zero"
    assert d.mode(logits).tolist() == [2, 0]
    correlation = np.corrcoef(action.T)[0, 1]
    assert abs(correlation) < 0.02, "actuators must be drawn independently"


def test_tanh_normal_equals_scipy():
    d = make("tanh_normal")
    logits = random_logits(d, (6,))
    loc, scale = (np.asarray(p, np.float64) for p in d.parameters(logits))
    action = d.sample(logits, jax.random.key(3))
    a = np.asarray(action, np.float64)
    density = stats.norm(loc, scale).pdf(np.arctanh(a)) / (1.0 - a**2)
    expected = np.log(density).sum(-1)
    np.testing.assert_allclose(d.log_prob(logits, action), expected, atol=0.02)


def test_tanh_normal_density_integrates_to_one():
    d = make("tanh_normal", 1)
    logits = jnp.array([0.7, -0.5])
    a = jnp.linspace(-1.0, 1.0, 200_001)
    log_prob = d.log_prob(jnp.broadcast_to(logits, (a.size, 2)), a[:, None])
    assert np.trapezoid(np.exp(log_prob), a) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("m", [0.0, 1.0, -4.0])
@pytest.mark.parametrize("s", [-4.0, 0.0, 1.8])
def test_tanh_normal_entropy_equals_quadrature(m, s):
    d = make("tanh_normal", 1)
    logits = jnp.array([m, s])
    loc, scale = (float(p[0]) for p in d.parameters(logits))
    u = stats.norm(loc, scale)

    def integrand(x):
        log_slope = 2.0 * (np.log(2.0) - x - np.logaddexp(0.0, -2.0 * x))
        return u.pdf(x) * (log_slope - u.logpdf(x))

    expected, _ = integrate.quad(integrand, loc - 9 * scale, loc + 9 * scale, limit=200)
    assert float(d.entropy(logits)) == pytest.approx(expected, abs=0.02)


def test_tanh_normal_frequencies_and_mode():
    d = make("tanh_normal", 1)
    logits = jnp.array([0.4, -0.5])
    loc, scale = (float(p[0]) for p in d.parameters(logits))
    action = np.asarray(
        d.sample(jnp.broadcast_to(logits, (20_000, 2)), jax.random.key(4))
    )
    ks = stats.kstest(np.arctanh(action[:, 0]), stats.norm(loc, scale).cdf)
    assert ks.pvalue > 1e-3
    assert float(d.mode(logits)[0]) == pytest.approx(np.tanh(loc), abs=1e-6)


def test_beta_equals_scipy():
    d = make("beta")
    logits = random_logits(d, (6,), spread=3.0)
    x = scipy_beta(d, logits)
    action = d.sample(logits, jax.random.key(5))
    at = (np.asarray(action, np.float64) + 1.0) / 2.0
    expected = (x.logpdf(at) - np.log(2.0)).sum(-1)
    np.testing.assert_allclose(d.log_prob(logits, action), expected, atol=2e-3)
    entropy = (x.entropy() + np.log(2.0)).mean(-1)
    np.testing.assert_allclose(d.entropy(logits), entropy, atol=1e-4)


def test_beta_frequencies_and_mode():
    d = make("beta", 1)
    logits = jnp.array([1.0, -0.5])
    action = np.asarray(
        d.sample(jnp.broadcast_to(logits, (20_000, 2)), jax.random.key(6))
    )
    ks = stats.kstest(
        (action[:, 0] + 1.0) / 2.0, lambda x: scipy_beta(d, logits).cdf(x)
    )
    assert ks.pvalue > 1e-3
    grid = jnp.linspace(-0.999, 0.999, 2001)[:, None]
    peak = grid[jnp.argmax(d.log_prob(jnp.broadcast_to(logits, (2001, 2)), grid)), 0]
    assert float(d.mode(logits)[0]) == pytest.approx(float(peak), abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_entropy_is_the_mean_surprise_of_samples(name):
    """Samples, log-probabilities and entropy are of one distribution: H = E[-log p]."""
    d = make(name, 1)
    logits = random_logits(d, (5,), spread=1.0, seed=9)
    many = jnp.broadcast_to(logits, (20_000, *logits.shape))
    surprise = -np.asarray(d.log_prob(many, d.sample(many, jax.random.key(10))))
    error = surprise.std(0) / np.sqrt(len(surprise))
    # 4.5 standard errors, and what the quadrature of tanh-normal may be off by.
    assert (np.abs(surprise.mean(0) - d.entropy(logits)) < 4.5 * error + 5e-3).all()


@pytest.mark.parametrize("name", NAMES)
def test_jit_and_vmap_change_nothing(name):
    d = make(name)
    logits = random_logits(d, (7,))
    keys = jax.random.split(jax.random.key(7), 7)
    one = jnp.stack([d.sample(x, k) for x, k in zip(logits, keys, strict=True)])
    action = jax.jit(jax.vmap(d.sample))(logits, keys)
    np.testing.assert_allclose(action, one, atol=1e-6)
    for function, args in ((d.log_prob, (logits, action)), (d.entropy, (logits,))):
        whole = function(*args)
        np.testing.assert_allclose(
            jax.jit(function)(*args), whole, rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(
            jax.vmap(function)(*args), whole, rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", ["tanh_normal", "beta"])
@pytest.mark.parametrize("size", [0.0, 60.0, -60.0])
def test_finite_at_the_ends(name, size):
    """Extreme logits and extreme actions: finite values, gradients, samples inside."""
    d = make(name)
    logits = jnp.full((3, d.num_outputs), size)
    action = jnp.stack([jnp.full(ACTUATORS, x) for x in (-1.0, 0.0, 1.0)])

    def total(logits):
        return d.log_prob(logits, action).sum() + d.entropy(logits).sum()

    value, gradient = jax.value_and_grad(total)(logits)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert np.isfinite(d.mode(logits)).all()
    assert (np.abs(d.sample(logits, jax.random.key(8))) <= 1.0 - 1e-7).all()


def test_multi_categorical_finite_for_extreme_logits():
    d = make("multi_categorical", 1, 3)
    logits = jnp.array([1e4, -1e4, 0.0])

    def total(logits):
        return d.log_prob(logits, jnp.array([1])) + d.entropy(logits)

    value, gradient = jax.value_and_grad(total)(logits)
    assert float(value) == pytest.approx(-2e4)
    assert np.isfinite(gradient).all()


def test_entropy_is_a_mean_and_log_prob_a_sum():
    """Twenty equal actuators: entropy of one, log-probability of twenty."""
    for name in NAMES:
        one, many = make(name, 1), make(name, 20)
        logits = jnp.arange(one.num_outputs, dtype=jnp.float32) / 5.0
        blocks = one.num_outputs if name != "multi_categorical" else 1
        tiled = jnp.tile(logits.reshape(blocks, 1, -1), (1, 20, 1)).reshape(-1)
        action = one.mode(logits)
        np.testing.assert_allclose(many.entropy(tiled), one.entropy(logits), rtol=1e-4)
        np.testing.assert_allclose(
            many.log_prob(tiled, jnp.tile(action, 20)),
            20.0 * one.log_prob(logits, action),
            rtol=1e-4,
        )


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match="multi_categorical, tanh_normal, beta"):
        make("auto")
    with pytest.raises(ConfigError, match="at least 2"):
        make("multi_categorical", bins=1)
