"""Pictures: reading files, cutting lines out of pages, preparing them for a model, and the maps that lead back."""
