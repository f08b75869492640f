"""``hasten doctor``: what a suite's time is made of, what each change would save on this machine, and ``--fix``.

``suite`` runs the suite in variants, ``watch`` looks at one run from inside, ``rules`` is the table of families, one
module each, that propose variants; ``measure`` runs those in turn with the suite as it is, ``fix`` edits its files.
"""
