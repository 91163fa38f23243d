"""What staff do on a client's page, and the one search that leaves a trace."""
