"""The C bridge (idse.h), which the encoders compile in, and Python's view of the same functions."""
