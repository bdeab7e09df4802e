"""The press: makes the book from its notebooks. Part of the repository, not of the package.

Nothing here imports torch, or aelib, which does: a notebook's kernel has both. Each file with a
command is called as a module from the repository's root, such as `python -m press.execute`.
"""
