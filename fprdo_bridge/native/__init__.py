"""The C bridge: idse.h and idse.c, which the encoders compile in, and Python's view of the same functions."""
