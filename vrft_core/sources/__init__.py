"""Where raw data comes from: one module a source, each writing `images/` and `annotations.json`.

Choosing the source of a cell belongs to the stage `raw`.
"""
