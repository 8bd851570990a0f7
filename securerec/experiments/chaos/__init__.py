"""A federation in this process, with parties that crash, lag and lie, and what must hold whatever they do."""
