"""The likeliest mistakes of a deployment, looked for without changing anything: `npo doctor`."""

from streams.doctor.checks import CHECKS, Examined, examine

__all__ = ["CHECKS", "Examined", "examine"]
