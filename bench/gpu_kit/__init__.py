"""The parts of `bench/gpu.py`: each measures one thing in a process of its own and writes rows of plain data."""
