"""django-tasks, from before Django had tasks of its own, works on rotations."""
