"""A site whose users have a UUID and an e-mail address and no name. Its `suite` runs in a process of its own."""
