"""What a user can fix. Anything raised here reaches the terminal as one line and exit status 2.

Programming errors do not belong here: they keep their traceback.
"""

STOPPED = "interrupted; finished work is kept. Run the same command again to resume"


class InputError(ValueError):
    """Bad input: a single line that names the file, the field and the remedy; the parts are kept as attributes."""

    def __init__(self, where: object, problem: str, remedy: str = "") -> None:
        self.where, self.problem, self.remedy = where, problem, remedy
        line = f"{where}: {problem}" + (f"; {remedy}" if remedy else "")
        line = " ".join(line.split())
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))  # files may name anything
