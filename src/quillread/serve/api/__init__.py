"""The REST API, `/api/v1`: one module a resource; what is asked goes in, what the archive holds comes out."""
