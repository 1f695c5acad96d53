"""ConvLLaVA itself: a five-stage ConvNeXt, a two-layer projector and a LLaMA-family language model.

Importing this package registers the model with transformers' AutoConfig, AutoModelForImageTextToText and
AutoModelForCausalLM.
"""

from __future__ import annotations

from cvl.train.model.configuration import ConvLlavaConfig
from cvl.train.model.modeling import ConvLlava
from cvl.train.model.vision import VisionTower

__all__ = ["ConvLlava", "ConvLlavaConfig", "VisionTower"]
