"""
The nginx that measurements and tests put in front of the desk.

    python -m scripts.nginx    find it, or fetch it where that is possible; prints where it is
"""

from __future__ import annotations

import sys

from scripts.debian_package import Program

#: The package that holds the program itself has several names, by the system's age.
NGINX = Program("nginx", packages=("nginx", "nginx-light", "nginx-core"), version_option="-v")
MISSING = NGINX.missing
fetch = NGINX.fetch

if __name__ == "__main__":
    sys.exit(NGINX.tell())
