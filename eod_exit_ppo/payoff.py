"On its way out."
from .exits import *  # noqa: F403
from .objective import *  # noqa: F403
