"""The command line `monitoring-pipeline`; docs/command-line.md has an example of every command.

A module here is a file of commands, which hang themselves on the app; `PANELS` says where the help lists them. Add a
command when a person wants it without Dagster's UI; keep what it does out, in the stage it belongs to. A command
imports what it needs when it runs: comparing two files must not wait for an orchestrator to load.
"""

from importlib import import_module
from pkgutil import iter_modules

from monitoring_pipeline.cli.base import app

PANELS = {
    "Files": ("init", "files"),
    "Models": ("models",),
    "Incidents": ("incidents", "incident_actions"),
    "Planning": ("planning",),
}
"""Which files have a heading of their own; the others are about the deployment."""

for _module in iter_modules(__path__, f"{__name__}."):
    if not _module.name.endswith("__main__"):
        import_module(_module.name)

for _command in app.registered_commands:
    _file = getattr(_command.callback, "__module__", "").rpartition(".")[2]
    _command.rich_help_panel = next((name for name, files in PANELS.items() if _file in files), "Deployment")

__all__ = ["app"]
