"""What holds for a whole process before it does anything: the shell changes nothing, nobody is phoned, nothing secret is shown, files are
private."""

from __future__ import annotations

import os

from pipelines import environment, network, private, redaction


def begin() -> None:
    """Prepares this process and those that it starts; done again, it changes nothing."""
    environment.settle()
    network.reach_this_machine_directly(os.environ)
    redaction.guard_output()
    private.set_umask()
