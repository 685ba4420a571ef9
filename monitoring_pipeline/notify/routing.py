"""Which channels hear of which severity.

Add a way of choosing channels here. Keep sending out: it belongs in delivery and channels.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

SEVERITIES = ("info", "warning", "critical")

DEFAULT_ROUTES: Mapping[str, tuple[str, ...]] = {
    "info": ("console", "email"),
    "warning": ("console", "slack", "webhook", "alertmanager"),
    "critical": ("console", "pagerduty", "slack", "email", "webhook", "alertmanager"),
}


@dataclass(frozen=True, slots=True)
class Routing:
    """Channel names for every severity; made by `routing_of`, which checks them."""

    routes: Mapping[str, tuple[str, ...]]

    def channels_for(self, severity: str) -> list[str]:
        """Return the names of the channels that hear of `severity`, each once, in the order configured."""
        if severity not in self.routes:
            raise ValueError(f"no route for severity {str(severity)!r}: severities are {', '.join(SEVERITIES)}")
        return list(dict.fromkeys(self.routes[severity]))


def routing_of(routes: Mapping[str, Collection[str]] | None, *, available: Collection[str]) -> Routing:
    """Return the routing for the channels that exist; severities left out keep their default.

    Defaults shrink to what is available: a deployment without Slack still has its console. A channel asked for by name
    that does not exist is an error.
    """
    asked = routes or {}
    choices = ", ".join(sorted(available)) or "none"
    for severity, names in asked.items():
        if severity not in SEVERITIES:
            raise ValueError(f"routes: {severity!r} is not a severity: choose from {', '.join(SEVERITIES)}")
        for name in names:
            if name not in available:
                raise ValueError(f"routes.{severity}: no channel named {name!r}: configured channels are {choices}")
    defaults = {severity: [name for name in names if name in available] for severity, names in DEFAULT_ROUTES.items()}
    return Routing({severity: tuple(asked.get(severity, defaults[severity])) for severity in SEVERITIES})
