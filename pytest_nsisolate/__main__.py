"""
The command ``python -m pytest_nsisolate``: the doctor, without pytest.
"""

from __future__ import annotations

import sys

from pytest_nsisolate.diagnosis import doctor

if __name__ == "__main__":
    sys.exit(doctor.main())
