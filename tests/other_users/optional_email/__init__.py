"""A site whose users may have no e-mail address, and have it to themselves if they have one."""
