"""The one language that staff are shown."""
