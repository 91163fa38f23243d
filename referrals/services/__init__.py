"""What can be asked of rewards, one module per noun; every public function is a whole, durable operation."""
