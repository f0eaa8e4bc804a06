"""What was measured, printed at the end of the run."""


class Table:
    def __init__(self):
        self.rows = []

    def add(self, what, measured, bar=""):
        self.rows.append((what, measured, bar))

    def print(self):
        rows = [("what", "measured", "at most"), *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for row in rows:
            print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
