"""The cases: for every code of a finding at least one payload that shows it.

Offsets of findings are worked out in these files from how the payload is put together.
"""

import cases_call
import cases_inline
import cases_lzo
import cases_zlib
import cases_zstd
from case import CASES
