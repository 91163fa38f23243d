"""What can be asked of alerts, one module per noun; every public function is a whole, durable operation."""
