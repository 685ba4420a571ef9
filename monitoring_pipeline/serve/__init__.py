"""Champion and challenger become predictions on record."""
