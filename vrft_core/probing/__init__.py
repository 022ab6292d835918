"""Finding out what a model's numbers mean: scenes to ask about, the conventions that are tried, the choice."""
