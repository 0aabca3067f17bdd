"""A field that takes the place of a column in clear: which of the two is read, and is written.

`report = EncryptedTextField(converts="report_clear", …)` has two columns while it is converted. The
phase of the conversion is a row in the keys' database, and is asked when SQL is made.
"""
