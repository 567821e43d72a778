"""Why one decision came out as it did, and what came of it: the records that tell, and the same in words."""

from streams.explaining.explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
