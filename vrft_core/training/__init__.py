"""Teaching a policy from few examples: SFT and GRPO on TRL, interrupted and resumed without a trace."""
