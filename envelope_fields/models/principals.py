"""How principals are named in rows: by type and primary key as text, without foreign keys."""

PRINCIPAL_TYPE_LENGTH = 100
PRINCIPAL_ID_LENGTH = 64
