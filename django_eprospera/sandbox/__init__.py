"""A stand-in for the e-Próspera provider: a Django project of its own, for development and tests.

It speaks to the rest of the package over HTTP only. It may import `django_eprospera.scopes` and nothing else of it.
"""
