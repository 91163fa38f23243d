"""The cast of every wallet test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # models cannot be imported before the settings are made
    from tests.cast import CastMember, StaffMember


@pytest.fixture
def alice(db: None) -> CastMember:
    from tests import cast

    return cast.alice()


@pytest.fixture
def bob(db: None) -> CastMember:
    from tests import cast

    return cast.bob()


@pytest.fixture
def carol(db: None) -> StaffMember:
    from tests import cast

    return cast.carol_staff()


@pytest.fixture
def dan(db: None) -> StaffMember:
    """The second pair of eyes."""
    from tests import cast

    return cast.carol_staff(email="dan@example.com", name="Dan Dale")
