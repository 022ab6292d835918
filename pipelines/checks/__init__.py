"""What must hold before anything is trained, and before a model is called good: asset checks.

`contracts` ties them to the data assets, `frames` says what is looked at, `suites` what must hold. `health` watches
what rewards make of a model, `regression` what has become of a good one.
"""
