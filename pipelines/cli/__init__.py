"""The `lettermill` command, a module per noun; `command.py` puts them together."""
