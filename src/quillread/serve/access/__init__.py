"""Who may do what: accounts, logins, tokens, roles, the audit log, and the guard before all requests."""
