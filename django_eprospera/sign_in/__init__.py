"""Turns a callback from e-Próspera into a verified person."""
