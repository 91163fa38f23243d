"""What an operator looks at when something feels slow: one place that names every metric."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUEST_SECONDS = Histogram(
    "desk_request_seconds",
    "Time from the first byte of a request to its answer.",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
LOCK_WAIT_SECONDS = Histogram(
    "desk_wallet_lock_seconds",
    "Time a money operation waited for its wallets, round trip included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2),
)
RETRIES = Counter("desk_transaction_retries_total", "Transactions run again, by SQLSTATE.", ["sqlstate"])
RETRIES_SPENT = Counter("desk_transaction_retries_spent_total", "Transactions given up, by fault.", ["fault"])
REFUSALS = Counter("desk_refusals_total", "Problem documents sent, by code.", ["code"])
REPLAYS = Counter("desk_idempotent_replays_total", "Answers given from a stored key.")
SHED = Counter("desk_requests_shed_total", "Requests refused before they took a connection, by reason.", ["reason"])
LEDGER_BREAKS = Gauge("desk_ledger_breaks", "Breaks found by the last ledger verification.", multiprocess_mode="max")
FEED_AGE_SECONDS = Gauge("desk_feed_age_seconds", "Age of the newest quote.", multiprocess_mode="max")
RISK_BATCHES_BEHIND = Gauge(
    "desk_risk_batches_behind", "Price batches that no risk engine has taken up yet.", multiprocess_mode="mostrecent"
)
RISK_TASKS_SET_ASIDE = Gauge(
    "desk_risk_tasks_set_aside", "Accounts that failed in the risk engine.", multiprocess_mode="mostrecent"
)
QUOTES_REFUSED = Counter(
    "desk_quotes_refused_total", "Quotes that were not believed, by source and kind.", ["source", "kind"]
)
JOB_IS_FAILED = Gauge(
    "desk_job_failed", "1 if the last run of a job did not end well.", ["job"], multiprocess_mode="mostrecent"
)
JOB_SILENT_SECONDS = Gauge(
    "desk_job_silent_seconds", "Since the last sign of life of a job.", ["job"], multiprocess_mode="mostrecent"
)
