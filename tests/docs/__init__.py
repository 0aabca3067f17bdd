"""The code blocks of README.md and docs/ run as tests, and their links are followed.

A page is one story, told in a project of its own. What its blocks do follows from what readers
see:

- `python` that begins with a comment naming a file (`# clinic/models.py`) is that file, or is
  added to it (`# mysite/settings.py, at the end`).
- `pycon` is typed into `manage.py shell`, which stays open until another kind of block; other
  `python` is run there.
- In `console`, each line after `$ ` is run. What is shown below it must come out, where `...`
  stands for anything, and the id of a key version for any id.

HTML comments, which readers do not see, say the rest:

- `<!-- test: continues README.md -->`: the page begins with the project of another page.
- `<!-- test: fails -->`: the command in the next block exits with an error.
- `<!-- test: skip: REASON -->`: the next block is not run.
"""
