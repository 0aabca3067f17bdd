"""Rotations of stored values in the admin: started from the page of a key, and watched.

Rooms: `starting` asks before a run, with a `plan` in numbers and the `forms` to choose what; `acts`
pause, resume and cancel, `no_worker` says where nobody would; `runs` is the list and the page of
each, `section` what the page of a key shows of them, and `telling` what all of them say, also to
the script that moves the bar.
"""
