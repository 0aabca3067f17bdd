"""Values of encrypted fields, kept out of reports of errors: Django's own, and those of trackers.

Neither can know everything that a program has made of a value. What is hidden: whatever goes by the
name of an encrypted field (variables, keyword arguments, form data), what rows with such fields
hold, and each copy of these values that is met anywhere else in the report.
"""

from envelope_fields.reporting.reports import (
    EncryptedFieldsReporter,
    EncryptedFieldsReporterFilter,
    before_send,
)

__all__ = ["EncryptedFieldsReporter", "EncryptedFieldsReporterFilter", "before_send"]
