"""What can be asked of money at rest, one module per noun; every public function is a whole, durable operation."""
