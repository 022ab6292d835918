"""Training a policy on few examples: SFT and GRPO on TRL. A resumed training ends with the same bytes as any other."""
