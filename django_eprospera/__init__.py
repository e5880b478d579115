"""Sign in with e-Próspera for Django: login, sealed tokens, cached facts, KYC review and gates."""
