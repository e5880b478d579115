"""Where do the fields of django-encrypted-model-fields come from when the site's key is missing or wrong?

The library builds a cipher when it is imported, and fails without a good key. That cipher is never used here, so the site
may start as far as the system check that says what is wrong with FIELD_ENCRYPTION_KEY.
"""

from __future__ import annotations

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.test.utils import override_settings

try:
    from encrypted_model_fields.fields import EncryptedDateField, EncryptedMixin, EncryptedTextField
except ImproperlyConfigured:
    with override_settings(FIELD_ENCRYPTION_KEY=Fernet.generate_key()):
        from encrypted_model_fields.fields import EncryptedDateField, EncryptedMixin, EncryptedTextField

__all__ = ["EncryptedDateField", "EncryptedMixin", "EncryptedTextField"]
