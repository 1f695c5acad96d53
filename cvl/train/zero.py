"""DeepSpeed's configuration: ZeRO as the published JSON files set it, without scheduler and without optimizer.

The schedule and AdamW stay transformers' and torch's: a scheduler in this configuration would replace the cosine.
"""

from __future__ import annotations

from typing import Any

from cvl.manifest import Scripts


def zero_config(scripts: Scripts) -> dict[str, Any] | None:
    """What DeepSpeed is told, with `auto` where the Trainer fills in its own value; None for plain data parallelism."""
    if scripts.deepspeed == "none":
        return None
    return {
        "bf16": {"enabled": "auto"},
        "train_micro_batch_size_per_gpu": "auto",
        "train_batch_size": "auto",
        "gradient_accumulation_steps": "auto",
        # Under DeepSpeed only this value clips: the Trainer's own would merely measure the norm.
        "gradient_clipping": scripts.max_grad_norm,
        # AdamW is torch's, which DeepSpeed knows to work with ZeRO though it did not make it.
        "zero_allow_untested_optimizer": True,
        # Micro-batches are added up in full precision, however many of them a global batch takes.
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": _zero2() if scripts.deepspeed == "zero2" else _zero3(),
    }


def _zero2() -> dict[str, Any]:
    return {"stage": 2, "overlap_comm": True, "contiguous_gradients": True, "reduce_bucket_size": "auto"}


def _zero3() -> dict[str, Any]:
    return {
        "stage": 3,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "sub_group_size": int(1e9),
        "reduce_bucket_size": "auto",
        "stage3_prefetch_bucket_size": "auto",
        "stage3_param_persistence_threshold": "auto",
        "stage3_max_live_parameters": int(1e9),
        "stage3_max_reuse_distance": int(1e9),
        "stage3_gather_16bit_weights_on_model_save": True,
    }
