"""What waits for a decision, and who may take it."""

from django.apps import AppConfig


class QueuesConfig(AppConfig):
    name = "config.back_office.queues"
    label = "queues"
    verbose_name = "Queues"
