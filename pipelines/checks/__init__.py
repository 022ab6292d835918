"""What must hold before anything is trained, and before a model is called good: asset checks.

`contracts` ties them to the data assets, `frames` says what is checked, `suites` what must hold. `health` watches what
rewards do to a model, `regression` whether a good one got worse.
"""
