"""What can be asked about people, one module per noun; every public function is a whole, durable operation."""
