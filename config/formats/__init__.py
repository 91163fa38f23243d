"""How dates are written, whatever country one is from."""
