from ._head import check_beginning as check_beginning
from ._head import parse_fields as parse_fields
from ._head import parse_head as parse_head
