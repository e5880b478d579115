"""From a callback of e-Próspera to a verified person, and what sessions remember of it."""
