"""Brain models that learn to use a hand.

A Shadow Hand in MJX, a frontoparietal network, recurrent PPO.
"""

from mjxhand import _gl  # noqa: F401  chooses MuJoCo's off-screen renderer, so it must come first
from mjxhand.config import Config, ConfigError
from mjxhand.env import Env, EnvParams, State
from mjxhand.make import make

__version__ = "0.1.0"
__all__ = ["Config", "ConfigError", "Env", "EnvParams", "State", "make"]
