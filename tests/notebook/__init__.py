"""A site's own app with sealed fields: the package promises them to sites, not to itself alone."""
