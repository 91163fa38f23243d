"""What the dashboards keep; every public function is a whole, durable operation."""
