"""What must hold before anything is trained, and before a model is called good: asset checks.

`contracts` ties them to the data assets, `frames` says what is looked at, `suites` what must hold.
"""
