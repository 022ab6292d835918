"""What the command line does besides running stages: one module a command, plain functions."""
