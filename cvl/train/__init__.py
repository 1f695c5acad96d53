"""From the verified tree to a trained ConvLLaVA: samples, model, checkpoints and the engine that runs the stages."""
