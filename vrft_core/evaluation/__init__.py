"""Prediction, metrics, intervals and diagnostics. Training does not belong here; it may ask for a prediction."""
