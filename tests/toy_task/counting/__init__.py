"""Counting: how many animals are in the image? A toy task, which the tests put into a copy of the project."""
