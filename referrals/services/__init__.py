"""What referrals does, one module per noun; call a service through its module."""
