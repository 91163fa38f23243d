"""Hours follow their own wall clock through every change of it, and touch each other without a gap or an overlap."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading import sessions
from trading.sessions import Closure, Schedule, Session

NEW_YORK, LONDON = "America/New_York", "Europe/London"
FIVE = time(17)
#: Currencies: from Sunday 17:00 to Friday 17:00 in New York, told as five sessions of a day each.
FOREX = Schedule(NEW_YORK, tuple(Session(weekday, FIVE, FIVE) for weekday in (6, 0, 1, 2, 3)))
#: The same with ten minutes of rest every day.
BREAK = Schedule(NEW_YORK, tuple(Session(weekday, time(17, 5), time(16, 55)) for weekday in (6, 0, 1, 2, 3)))
SHARES = Schedule(LONDON, tuple(Session(weekday, time(8), time(16, 30)) for weekday in range(5)))
#: Nights only, over both changes of the clock, which come on Sundays between 01:00 and 03:00.
NIGHTS = Schedule(NEW_YORK, tuple(Session(weekday, time(22), time(2, 30)) for weekday in range(7)))
CRYPTO = Schedule(NEW_YORK)
SCHEDULES = (FOREX, BREAK, SHARES, NIGHTS, CRYPTO)

MICROSECOND = timedelta(microseconds=1)
WEEK = timedelta(days=7)

START = datetime(2020, 1, 1, tzinfo=UTC)

moments = st.integers(0, 16 * 365 * 86_400 * 1_000_000).map(lambda passed: START + passed * MICROSECOND)
#: Most moments are nowhere near a change of the clock; these are.
changes = st.builds(
    lambda year, day, minutes: datetime(year, day[0], day[1], tzinfo=UTC) + timedelta(minutes=minutes),
    st.integers(2020, 2035),
    st.sampled_from([(3, 7), (3, 24), (10, 24), (10, 31)]),
    st.integers(0, 9 * 24 * 60),
)
schedules = st.sampled_from(SCHEDULES)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- Edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schedule, moment, is_open",
    [
        (FOREX, "2026-01-04T21:59:59.999999", False),  # Sunday 17:00 in New York is 22:00 UTC in winter
        (FOREX, "2026-01-04T22:00:00", True),
        (FOREX, "2026-01-06T22:00:00", True),  # one session ends and the next begins
        (FOREX, "2026-01-09T21:59:59.999999", True),
        (FOREX, "2026-01-09T22:00:00", False),
        (FOREX, "2026-07-05T20:59:59", False),  # and 21:00 UTC in summer
        (FOREX, "2026-07-05T21:00:00", True),
        (FOREX, "2026-07-10T20:59:59", True),
        (FOREX, "2026-07-10T21:00:00", False),
        (BREAK, "2026-01-06T21:54:59", True),
        (BREAK, "2026-01-06T21:55:00", False),
        (BREAK, "2026-01-06T22:04:59", False),
        (BREAK, "2026-01-06T22:05:00", True),
        (SHARES, "2026-07-06T06:59:59", False),
        (SHARES, "2026-07-06T07:00:00", True),
        (SHARES, "2026-07-06T15:29:59", True),
        (SHARES, "2026-07-06T15:30:00", False),
        (CRYPTO, "2026-12-25T03:00:00", True),
    ],
)
def test_a_session_begins_on_its_first_minute_and_is_over_on_its_last(
    schedule: Schedule, moment: str, is_open: bool
) -> None:
    assert sessions.is_open(schedule, utc(moment)) is is_open


def test_the_next_opening_is_now_while_it_is_open() -> None:
    assert sessions.next_open(FOREX, utc("2026-01-06T12:00:00")) == utc("2026-01-06T12:00:00")
    assert sessions.next_open(FOREX, utc("2026-01-10T12:00:00")) == utc("2026-01-11T22:00:00")


def test_the_weekend_of_the_change_is_an_hour_shorter_or_longer() -> None:
    friday, sunday = utc("2026-03-06T22:00:00"), utc("2026-03-08T21:00:00")
    assert sessions.next_close(FOREX, friday - MICROSECOND) == friday
    assert sessions.next_open(FOREX, friday) == sunday
    assert sunday - friday == timedelta(hours=47)
    friday, sunday = utc("2026-10-30T21:00:00"), utc("2026-11-01T22:00:00")
    assert sessions.next_open(FOREX, friday) == sunday
    assert sunday - friday == timedelta(hours=49)


def test_london_and_new_york_change_on_different_weekends() -> None:
    # In between, from the second Sunday of March to the last, New York opens an hour earlier for London.
    assert sessions.sessions_between(SHARES, utc("2026-03-09T00:00:00"), utc("2026-03-10T00:00:00")) == [
        (utc("2026-03-09T08:00:00"), utc("2026-03-09T16:30:00"))
    ]
    assert sessions.sessions_between(SHARES, utc("2026-03-30T00:00:00"), utc("2026-03-31T00:00:00")) == [
        (utc("2026-03-30T07:00:00"), utc("2026-03-30T15:30:00"))
    ]


def test_a_time_the_clock_leaves_out_is_the_moment_that_was_due() -> None:
    # 02:30 on the night that jumps from 02:00 to 03:00 is 03:30 in summer time.
    assert sessions.moment_of(date(2026, 3, 8), time(2, 30), ZoneInfo(NEW_YORK)) == utc("2026-03-08T07:30:00")
    only = Schedule(NEW_YORK, (Session(6, time(2, 30), time(3)),))
    assert sessions.sessions_between(only, utc("2026-03-08T00:00:00"), utc("2026-03-09T00:00:00")) == []


def test_a_time_the_clock_tells_twice_is_its_first() -> None:
    assert sessions.moment_of(date(2026, 11, 1), time(1, 30), ZoneInfo(NEW_YORK)) == utc("2026-11-01T05:30:00")


def test_a_market_without_hours_never_closes() -> None:
    moment = utc("2026-12-26T12:00:00")
    assert (sessions.next_open(CRYPTO, moment), sessions.next_close(CRYPTO, moment)) == (moment, None)
    assert sessions.sessions_between(CRYPTO, moment, moment + WEEK) == [(moment, moment + WEEK)]


# --- Holidays -------------------------------------------------------------------------------------------------------

CHRISTMAS = Schedule(
    NEW_YORK,
    FOREX.sessions,
    (Closure(date(2026, 12, 24), closes=time(13)), Closure(date(2026, 12, 25), reopens=time(18))),
)


def test_a_holiday_closes_early_and_reopens_late() -> None:
    assert sessions.next_close(CHRISTMAS, utc("2026-12-24T12:00:00")) == utc("2026-12-24T18:00:00")
    # It would reopen on Friday at 18:00, an hour after the week has ended.
    assert sessions.next_open(CHRISTMAS, utc("2026-12-24T18:00:00")) == utc("2026-12-27T22:00:00")


def test_a_whole_day_may_be_missing() -> None:
    shut = Schedule(LONDON, SHARES.sessions, (Closure(date(2026, 8, 31)),))
    assert sessions.next_open(shut, utc("2026-08-28T15:30:00")) == utc("2026-09-01T07:00:00")


def test_an_hour_may_be_missing_in_the_middle() -> None:
    shut = Schedule(LONDON, SHARES.sessions, (Closure(date(2026, 8, 31), closes=time(12), reopens=time(13)),))
    assert sessions.sessions_between(shut, utc("2026-08-31T00:00:00"), utc("2026-09-01T00:00:00")) == [
        (utc("2026-08-31T07:00:00"), utc("2026-08-31T11:00:00")),
        (utc("2026-08-31T12:00:00"), utc("2026-08-31T15:30:00")),
    ]


def test_what_never_closes_keeps_holidays_too() -> None:
    shut = Schedule(NEW_YORK, (), (Closure(date(2026, 12, 25)),))
    assert sessions.next_close(shut, utc("2026-12-01T00:00:00")) == utc("2026-12-25T05:00:00")
    assert sessions.next_open(shut, utc("2026-12-25T05:00:00")) == utc("2026-12-26T05:00:00")


def test_a_market_that_never_opens_again_says_so() -> None:
    shut = Schedule(
        LONDON, (Session(0, time(8), time(9)),), tuple(Closure(date(2026, 1, 5) + n * WEEK) for n in range(70))
    )
    assert sessions.next_open(shut, utc("2026-01-01T00:00:00")) is None


# --- Properties -----------------------------------------------------------------------------------------------------


def on_the_wall(schedule: Schedule, moment: datetime) -> bool:
    """Whether the wall clock, read as people read it, says that the market is open; closures aside."""
    local = moment.astimezone(ZoneInfo(schedule.zone))
    minute, weekday = local.time(), local.weekday()
    for session in schedule.sessions:
        if session.opens < session.closes:
            if weekday == session.weekday and session.opens <= minute < session.closes:
                return True
        elif (weekday == session.weekday and minute >= session.opens) or (
            weekday == (session.weekday + 1) % 7 and minute < session.closes
        ):
            return True
    return not schedule.sessions


@given(st.sampled_from([FOREX, BREAK, SHARES, CRYPTO]), moments | changes)
def test_is_open_exactly_when_the_wall_clock_says_so(schedule: Schedule, moment: datetime) -> None:
    assert sessions.is_open(schedule, moment) == on_the_wall(schedule, moment)


@given(schedules, moments | changes)
def test_next_open_is_open_and_nothing_before_it_is(schedule: Schedule, moment: datetime) -> None:
    opens = sessions.next_open(schedule, moment)
    assert opens is not None
    assert sessions.is_open(schedule, opens)
    assert opens == moment or not sessions.is_open(schedule, moment)
    assert sessions.sessions_between(schedule, moment, opens) == []


@given(schedules, moments | changes)
def test_next_close_is_closed_and_everything_before_it_is_open(schedule: Schedule, moment: datetime) -> None:
    closes = sessions.next_close(schedule, moment)
    if closes is None:
        assert schedule is CRYPTO or not sessions.is_open(schedule, moment)
        return
    assert sessions.is_open(schedule, moment)
    assert not sessions.is_open(schedule, closes)
    assert sessions.is_open(schedule, closes - MICROSECOND)
    assert sessions.sessions_between(schedule, moment, closes) == [(moment, closes)]


@given(schedules, moments | changes, st.timedeltas(timedelta(0), 20 * timedelta(days=1)), st.data())
def test_spans_are_apart_in_order_and_say_the_same_as_is_open(
    schedule: Schedule, start: datetime, length: timedelta, data: st.DataObject
) -> None:
    end = start + length
    spans = sessions.sessions_between(schedule, start, end)
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(set(edges))
    assert all(start <= edge <= end for edge in edges)
    moment = data.draw(
        st.sampled_from([*edges, start])
        | st.datetimes(start.replace(tzinfo=None), end.replace(tzinfo=None), timezones=st.just(UTC))
    )
    if moment < end:
        assert any(opens <= moment < closes for opens, closes in spans) == sessions.is_open(schedule, moment)


@given(schedules, moments | changes, st.timedeltas(timedelta(0), WEEK), st.timedeltas(timedelta(0), WEEK))
def test_two_stretches_hold_together_what_one_does(
    schedule: Schedule, start: datetime, first: timedelta, second: timedelta
) -> None:
    def open_for(begin: datetime, end: datetime) -> timedelta:
        return sum((closes - opens for opens, closes in sessions.sessions_between(schedule, begin, end)), timedelta(0))

    middle, end = start + first, start + first + second
    assert open_for(start, middle) + open_for(middle, end) == open_for(start, end)


@given(st.integers(2020, 2035), st.integers(1, 52))
def test_a_week_of_currencies_is_five_days_long_by_the_wall_clock(year: int, week: int) -> None:
    zone = ZoneInfo(NEW_YORK)
    sunday = date.fromisocalendar(year, week, 7)
    opens = sessions.moment_of(sunday, FIVE, zone)
    assert sessions.next_close(FOREX, opens) == sessions.moment_of(sunday + timedelta(days=5), FIVE, zone)


# --- Nights ---------------------------------------------------------------------------------------------------------


@given(st.sampled_from([NEW_YORK, LONDON]), moments | changes, st.times())
def test_every_day_ends_once_and_at_its_hour(zone: str, after: datetime, at: time) -> None:
    ends = sessions.next_rollover(zone, at, after=after)
    assert ends > after
    assert ends - after <= timedelta(hours=25)
    first = sessions.day_ending(zone, at, by=ends)
    days, moments_ = zip(*sessions.rollovers(zone, at, first=first, until=ends + 30 * sessions.DAY), strict=True)
    assert moments_[0] == ends
    assert list(days) == [days[0] + number * sessions.DAY for number in range(len(days))]
    assert all(timedelta(hours=23) <= b - a <= timedelta(hours=25) for a, b in pairwise(moments_))
    assert all(sessions.next_rollover(zone, at, after=a) == b for a, b in pairwise(moments_))


def test_the_end_of_a_day_moves_with_summer_time() -> None:
    until = utc("2026-03-10T00:00:00")
    assert list(sessions.rollovers(NEW_YORK, FIVE, first=date(2026, 3, 6), until=until)) == [
        (date(2026, 3, 6), utc("2026-03-06T22:00:00")),
        (date(2026, 3, 7), utc("2026-03-07T22:00:00")),
        (date(2026, 3, 8), utc("2026-03-08T21:00:00")),
        (date(2026, 3, 9), utc("2026-03-09T21:00:00")),
    ]


def test_a_day_that_ends_at_midnight_ends_behind_its_date() -> None:
    until = utc("2026-03-30T12:00:00")
    assert list(sessions.rollovers(LONDON, time(0), first=date(2026, 3, 27), until=until)) == [
        (date(2026, 3, 27), utc("2026-03-28T00:00:00")),
        (date(2026, 3, 28), utc("2026-03-29T00:00:00")),
        (date(2026, 3, 29), utc("2026-03-29T23:00:00")),
    ]


@given(st.sampled_from([NEW_YORK, LONDON]), moments | changes, st.times())
def test_no_day_that_is_still_to_end_is_left_out(zone: str, moment: datetime, at: time) -> None:
    first = sessions.day_ending(zone, at, by=moment)
    ends = [end for _, end in sessions.rollovers(zone, at, first=first, until=moment + 3 * sessions.DAY)]
    expected = sessions.next_rollover(zone, at, after=moment - MICROSECOND)
    assert next(end for end in ends if end >= moment) == expected


def test_what_happens_at_the_very_end_belongs_to_the_next_day() -> None:
    ends = utc("2026-03-06T22:00:00")
    assert sessions.next_rollover(NEW_YORK, FIVE, after=ends) == ends + timedelta(days=1)
    assert sessions.next_rollover(NEW_YORK, FIVE, after=ends - MICROSECOND) == ends
