"""What goes on record about an export; every public function is a whole, durable operation."""
