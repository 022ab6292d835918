-- Run once in a new PostgreSQL cluster, as its superuser `vrft`.
CREATE DATABASE dagster;
CREATE DATABASE mlflow;
