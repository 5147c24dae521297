"""The one judgement of what became of a write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.http import ApiError, ConnectionLost
from pipelines.vendors.crm_types import OutcomeUnknown


@contextmanager
def writing() -> Iterator[None]:
    """Around a call that writes, and the reading of its answer. Raises OutcomeUnknown where nobody can say whether it was
    carried out: no answer, one that cannot be read or is of another shape than documented, a failure of the vendor (5xx) or a
    time-out at its front door (408). Other answers say that nothing was written and pass through."""
    try:
        yield
    except ConnectionLost as lost:
        raise OutcomeUnknown(str(lost)) from lost
    except ApiError as error:
        # Below 300: it was carried out, and the answer cannot be read.
        if error.status >= 500 or error.status == 408 or error.status < 300:
            raise OutcomeUnknown(str(error)) from error
        raise
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise OutcomeUnknown(f"the answer to a write is not of the shape that is documented ({type(error).__name__}: {error})") from error
