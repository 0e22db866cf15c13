"""FeedbackWave: a live inbox for what people think."""

from importlib.metadata import version

__version__ = version("feedbackwave")
