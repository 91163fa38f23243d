"""Where each figure comes from: one module per subject, and nothing here writes."""
