"""What holds for a whole process before it does anything: nobody is phoned, nothing secret is shown, files are private."""

from __future__ import annotations

import os

from pipelines import network, private, redaction, settings


def begin() -> None:
    """Prepares this process and those that it starts; done again, it changes nothing."""
    settings.switch_telemetry_off()
    network.reach_this_machine_directly(os.environ)
    redaction.guard_output()
    private.set_umask()
