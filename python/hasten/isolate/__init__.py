"""``hasten isolate``: which tests have to run before another one to change its outcome.

``probe`` runs in pytest's process, ``lab`` asks it for runs of chosen tests, ``search`` decides which, ``state`` says
what a test leaves behind, ``report`` tells people.
"""
