"""A profile and a reference become signals: measurements only, no decisions."""
