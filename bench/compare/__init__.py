"""The desk beside what it is usually built with and beside bare PostgreSQL, in the same minutes on the same machine."""
