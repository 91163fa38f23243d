"""What breaks a desk, done to a real one, and what its clients then see."""
