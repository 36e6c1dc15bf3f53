from ._framing import InputBuffer as InputBuffer
from ._framing import find_prefix_at_end as find_prefix_at_end
