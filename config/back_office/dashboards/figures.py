"""The rooms' own figures; other parts of the back office add theirs in a `figures.py` of their own."""

from config.back_office.dashboards.readers import money, people, queues, risk, system

__all__ = ["money", "people", "queues", "risk", "system"]
