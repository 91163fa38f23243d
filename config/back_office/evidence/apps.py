"""What happened, shown so that nobody has to take our word for it."""

from django.apps import AppConfig


class EvidenceConfig(AppConfig):
    name = "config.back_office.evidence"
    label = "evidence"
    verbose_name = "Evidence"
