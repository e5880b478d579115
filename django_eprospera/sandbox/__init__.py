"""Local simulation of the e-Próspera provider for development and tests, a Django project of its own.

Imports `django_eprospera.scopes` and nothing else of the package. Clients use it over HTTP.
"""
