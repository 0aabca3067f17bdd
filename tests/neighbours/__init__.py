"""Packages that people use beside this one: do values survive them, and stay inside?

Each folder is a small project around a package, named for what it does, with settings, models and
tests of its own:

    make neighbours                       # all of them
    make neighbours ARGS="revisions"      # one

A project's settings begin with `from tests.neighbours.base import *`. Its tests run on the database
that ENVELOPE_TEST_DB names, unless its settings say otherwise.
"""
