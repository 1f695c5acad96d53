"""cvl: from an empty disk to a trained ConvLLaVA."""

__version__ = "0.1.0"
