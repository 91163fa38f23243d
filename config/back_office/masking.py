"""What pages need to keep from those who may not read it: the same masks that the lists wear."""

from __future__ import annotations

from core.masking import masked_email, masked_phone, may_see_personal_data

__all__ = ["masked_email", "masked_phone", "may_see_personal_data"]
