"""The HTTP client for e-Próspera: typed answers, ID tokens, discovery and signing keys, within bounds. No ORM, no Django."""
