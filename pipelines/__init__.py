"""The orchestration: Dagster assets, checks and schedules over the stages in dvc.yaml. Thin; no science here."""
