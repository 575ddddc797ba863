"""The server: an archive of one's own with collections, jobs and a REST API (`quill serve`)."""
