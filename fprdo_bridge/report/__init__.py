"""Results for people: tables, curves, maps."""
