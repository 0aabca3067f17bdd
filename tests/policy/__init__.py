"""Who may do what with a key, on every path to one."""


def read_as(user_id, note_id):
    """Read a note of the laboratory as a user."""
    from envelope_fields.policy import Principal, acting_as
    from tests.models import LabNote

    with acting_as(Principal("auth.user", str(user_id))):
        return LabNote.objects.get(pk=note_id).text
