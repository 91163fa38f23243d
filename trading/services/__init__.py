"""What can be asked of money at risk, one module per noun; every public function is a whole, durable operation."""
