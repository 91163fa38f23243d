"""How many small mistakes in the code that moves money some test would notice."""
