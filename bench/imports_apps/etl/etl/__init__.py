"""From there to here."""
