"""Asks the web server of this machine whether it lives; for a container's health check."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

SECONDS_MAX = 3


def main() -> int:
    # The server answers only to its own names.
    name = os.environ.get("ALLOWED_HOSTS", "").split(",")[0].strip().lstrip(".*") or "localhost"
    url = f"http://127.0.0.1:{os.environ.get('PORT') or 8000}/health/live"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Host": name}), timeout=SECONDS_MAX) as answer:
            return 0 if answer.status == 200 else 1
    except (urllib.error.URLError, OSError) as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
