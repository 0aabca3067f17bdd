"""Whole test suites of other packages, whose models have encrypted fields that blind indexes find.

    make suites                          # all of them
    make suites ARGS="django_otp"        # one

The tests are those of the release that is installed, from its source distribution. `beside/` is on
their path: what is swapped, and the settings of each suite. Tests that cannot pass are in
`refused.toml`, with what forbids it; a run fails where another one does, and where one of these
passes. The tests run on the database that ENVELOPE_TEST_DB names.
"""
