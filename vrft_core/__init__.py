"""The method: data, rewards, training, evaluation and report as plain functions.

Nothing here imports dagster, dvc, great_expectations or kubernetes; orchestration lives in `pipelines`.
"""

__version__ = "0.2.0"
